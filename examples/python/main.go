// Command python runs an application in Python, which reads from two header fields who
// is signed in and whether the bank confirms the name.
//
//	go run ./examples/python
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

//go:embed application.py
var files embed.FS

func main() { example().Main() }

func example() *demo.Example {
	return &demo.Example{
		Name: "python", Site: "Staff pages", Caddyfile: caddyfile, Files: files,
		Users:   `"John Doe" and "Jane Carter", both with the password "example"`,
		Program: &demo.Program{Command: []string{"python3", "application.py"}, Package: "python3"},
	}
}
