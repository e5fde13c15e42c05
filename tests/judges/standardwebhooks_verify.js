// Verifies deliveries with the official Standard Webhooks library for JavaScript.
// In: JSON lines {"secret", "headers", "body", "now"?}; now: the judge's clock, Unix seconds. Out: "ok" or the refusal, one a line.
const { Webhook } = require("standardwebhooks");
const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
for (const line of lines) {
  const { secret, headers, body, now } = JSON.parse(line);
  if (now) Date.now = () => now * 1000;
  try {
    new Webhook(secret).verify(body, headers);
    console.log("ok");
  } catch (error) {
    console.log(`refused: ${error.message}`);
  }
}
