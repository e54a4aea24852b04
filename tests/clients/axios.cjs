// A client of axios, as the documentation's helper makes it. Prints a line each: what, status, body.
//   BASE, KEY, NUMBER and HOOK from the environment
const axios = require("axios");

const { BASE, KEY, NUMBER, HOOK } = process.env;
const api = axios.create({
  baseURL: BASE,
  headers: { Authorization: `Bearer ${KEY}`, "Content-Type": "application/json" },
  timeout: 15000,
});

function show(what, response) {
  console.log([what, response.status, JSON.stringify(response.data)].join("\t"));
  return response.data;
}

async function refused(what, request) {
  try {
    await request;
  } catch (error) {
    return show(what, error.response);
  }
  throw new Error(`${what} was not refused`);
}

async function main() {
  show("me", await api.get("/api/me"));
  const call = show("makecall", await api.post("/makecall", { number: NUMBER, webhookUrl: HOOK, useAmd: true }));
  const path = `/calls/${call.callId}`;
  for (let tries = 0; (await api.get(path)).data.status !== "answered"; tries += 1) {
    if (tries > 100) throw new Error("it is not answered");
    await new Promise((done) => setTimeout(done, 50));
  }
  show("calls", await api.get("/calls"));
  show("dtmf", await api.post("/dtmf", { callId: call.callId, digits: "1#" }));
  show("hangup", await api.post("/hangup", { callId: call.callId }));
  await refused("unknown", api.get("/calls/1720012345.88"));
  await refused("missing", api.post("/makecall", {}));
  await refused("key", axios.get(`${BASE}/api/me`, { headers: { Authorization: "Bearer ak_live_123456" } }));
  show("logs", await api.post("/api/call-logs", { page: 1 }));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
