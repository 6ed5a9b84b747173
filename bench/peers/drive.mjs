// A database that runs within a program of Node, and the load on it: `node drive.mjs PEER FOLDER PORT`, where PEER is a module
// beside this one, FOLDER is where its data goes, and PORT is where this program is told what to do, over HTTP:
//
//   POST /fill    {from, to, customers}         creates these orders, and with the first of them all customers
//   POST /settle                                all is there: what is done once before the load
//   POST /turn    {writers, seconds, shares}    sets amounts of random orders; tells how many, and how fast
//   GET  /wrong                                 how many customers there are, and of how many the total or the number is wrong
//   GET  /about                                 what it is
//
// A module has `open(folder)`, which gives an object with `about()`, `fill(from, to, customers)`, `settle()`,
// `set(order, amount)`, which resolves once that is committed and its customer's total follows, and tells how often it had to
// try again, `wrong()` and `close()`.

import { createServer } from "node:http";

const [peer, folder, port] = process.argv.slice(2);
const database = await (await import(`./${peer}.mjs`)).open(folder);
let orders = 0;

/** So many writers at once, each with one write under way, for so long. Microseconds. */
async function turn({ writers, seconds, shares }) {
  const latencies = [];
  let retries = 0;
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const write = async () => {
    for (;;) {
      const from = performance.now();
      if (from >= end) return;
      const [order, amount] = [1 + below(orders), 1 + below(1_000_000)];
      retries += await database.set(order, amount);
      const now = performance.now();
      // What is answered behind the end is no part of the turn.
      if (now <= end) latencies.push((now - from) * 1000);
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
  latencies.sort((a, b) => a - b);
  const within = shares.map((share) => {
    const at = Math.ceil(share * latencies.length) - 1;
    return latencies[Math.max(at, 0)] ?? 0;
  });
  return { answered: latencies.length, seconds, within_us: within, retries };
}

const below = (bound) => Math.floor(Math.random() * bound);

async function answer(method, path, body) {
  switch (`${method} ${path}`) {
    case "POST /fill":
      await database.fill(body.from, body.to, body.customers);
      orders = Math.max(orders, body.to);
      return {};
    case "POST /settle":
      await database.settle();
      return {};
    case "POST /turn":
      return await turn(body);
    case "GET /wrong":
      return await database.wrong();
    case "GET /about":
      return { about: `${await database.about()}, Node ${process.version}` };
    default:
      throw new Error("there is no such thing");
  }
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let [status, text] = [200, ""];
  try {
    const body = chunks.length > 0 ? JSON.parse(Buffer.concat(chunks)) : {};
    text = JSON.stringify(await answer(request.method, request.url, body));
  } catch (error) {
    [status, text] = [500, String(error?.stack ?? error)];
  }
  response.writeHead(status, { "Content-Length": Buffer.byteLength(text) }).end(text);
});

process.on("SIGTERM", async () => {
  await database.close();
  process.exit(0);
});
server.listen(Number(port), "127.0.0.1");
