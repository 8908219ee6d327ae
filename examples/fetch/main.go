// Command fetch runs an application in Node.js whose page fetches its data, and leads
// to the bank when there is no session.
//
//	go run ./examples/fetch
//
// With TRUELAYER_CLIENT_ID and TRUELAYER_CLIENT_SECRET in the environment, it uses
// TrueLayer's sandbox instead of a simulation.
package main

import (
	"embed"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demo"
)

//go:embed Caddyfile
var caddyfile []byte

//go:embed application.mjs public
var files embed.FS

func main() { example().Main() }

func example() *demo.Example {
	return &demo.Example{
		Name: "fetch", Site: "Payslips", Caddyfile: caddyfile, Files: files,
		Program: &demo.Program{Command: []string{"node", "application.mjs"}, Package: "nodejs"},
	}
}
