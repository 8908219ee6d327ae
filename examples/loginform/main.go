// Command loginform runs an application in PHP with a login form like WordPress's, which
// only those reach whose bank confirms their name.
//
//	go run ./examples/loginform
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

//go:embed site
var files embed.FS

func main() { example().Main() }

func example() *demo.Example {
	return &demo.Example{
		Name: "loginform", Site: "A small blog", Caddyfile: caddyfile, Files: files,
		Users: `"john" is John Doe and "jane" is Jane Carter, both with the password "example"`,
		Program: &demo.Program{
			Command: []string{
				"php", "-q", "-d", "session.save_path=$TMPDIR", "-d", "display_errors=0", "-S", "127.0.0.1:$PORT", "-t", "site",
			},
			Package: "php-cli",
		},
	}
}
