// Parses deliveries with the official CloudEvents SDK for JavaScript.
// In: JSON lines {"headers", "body"}. Out: a line of JSON with the attributes and the data, or {"fault"}.
const { HTTP } = require("cloudevents");
const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
for (const line of lines) {
  try {
    const event = HTTP.toEvent(JSON.parse(line));
    event.validate();
    console.log(JSON.stringify(event));
  } catch (fault) {
    console.log(JSON.stringify({ fault: `${fault}` }));
  }
}
