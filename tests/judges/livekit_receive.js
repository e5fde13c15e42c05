// Receives as LiveKit's official SDK for JavaScript does.
// In: JSON lines {"key", "secret", "authorization", "body"}. Out: the event's name a line, or the fault.
const { WebhookReceiver } = require("livekit-server-sdk");
const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
(async () => {
  for (const line of lines) {
    const { key, secret, authorization, body } = JSON.parse(line);
    try {
      console.log((await new WebhookReceiver(key, secret).receive(body, authorization)).event);
    } catch (fault) {
      console.log(`${fault.name}: ${fault.message}`);
    }
  }
})();
