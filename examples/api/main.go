// Command api serves a page whose script calls TrueLayer's Verification API. There is
// no application behind it, and no token in the browser.
//
//	go run ./examples/api
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

//go:embed index.html page.js style.css
var files embed.FS

func main() { example().Main() }

func example() *demo.Example {
	return &demo.Example{
		Name: "api", Site: "Name check", Caddyfile: caddyfile, Files: files,
	}
}
