// An application whose page is public and whose data is not. It knows nothing of
// TrueLayer: the proxy in front of it lets nobody to /payslips without a bank
// connection, and names the bank in a header field. It listens on 127.0.0.1, where
// nobody else can send it this field.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const files = new Map([
  ["/", file("index.html", "text/html; charset=utf-8")],
  ["/connect.js", file("connect.js", "text/javascript; charset=utf-8")],
  ["/page.js", file("page.js", "text/javascript; charset=utf-8")],
  ["/style.css", file("style.css", "text/css; charset=utf-8")],
]);

function file(name, type) {
  return { type, body: readFileSync(new URL(`public/${name}`, import.meta.url)) };
}

const payslips = [
  { month: "September 2026", pay: "£2,104.00" },
  { month: "October 2026", pay: "£2,187.50" },
];

function answer(request) {
  const path = request.url.split("?")[0];
  if (request.method !== "GET" && request.method !== "HEAD") {
    return { status: 405, type: "text/plain", body: "This page is only for reading.\n" };
  }
  if (path === "/payslips") {
    const body = JSON.stringify({ bank: request.headers["x-bank"] ?? "", payslips });
    return { status: 200, type: "application/json", body };
  }
  const found = files.get(path);
  return found ? { status: 200, ...found } : { status: 404, type: "text/plain", body: "There is no such page.\n" };
}

createServer((request, response) => {
  const { status, type, body } = answer(request);
  response.writeHead(status, {
    "Content-Type": type,
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
  });
  response.end(body);
}).listen(Number(process.env.PORT), "127.0.0.1");
