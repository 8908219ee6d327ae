// Command quickstart is a complete demonstration on one machine. It needs no
// account anywhere. It runs a Caddy with this module, a simulation of TrueLayer,
// and a small application that knows nothing about banks.
//
//	go run ./examples/quickstart
//
// With -consent, visitors consent to what is shared on the site's own page.
//
// With TRUELAYER_CLIENT_ID and TRUELAYER_CLIENT_SECRET in the environment, it uses
// TrueLayer's sandbox instead of the simulation.
package main

import (
	_ "embed"
	"flag"

	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/demo"
	"github.com/caddy-truelayer/caddy-truelayer/examples/internal/payroll"
)

//go:embed Caddyfile
var caddyfile []byte

func main() { example().Main() }

func example() *demo.Example {
	consent := map[string]string{"DEMO_CONSENT": "consent-at-truelayer"}
	return &demo.Example{
		Name: "quickstart", Site: "Payroll 2004", Caddyfile: caddyfile, Handler: payroll.New, Environment: consent,
		Flags: func(flags *flag.FlagSet) {
			flags.BoolFunc("consent", "let visitors consent on the site's own page, not in TrueLayer's dialog", func(string) error {
				consent["DEMO_CONSENT"] = "consent-here"
				return nil
			})
		},
	}
}
