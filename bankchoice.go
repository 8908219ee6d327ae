package truelayer

import (
	"context"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/banks"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
)

// bankChoice knows the banks that a block's visitors can choose.
type bankChoice struct {
	*bankList          // nil until the block is connected
	providers []string // the option
	only      string   // the option provider_id
}

// bankList is the banks of a client, with their logos and the links to them.
type bankList struct {
	keeper *banks.Keeper
	logos  *banks.Logos
	// links are the requests for links to the banks.
	links *flight.Fair
}

// bankLists holds the banks of each client, so that blocks share one list. It is kept over
// reloads of the configuration.
var bankLists = caddy.NewUsagePool()

// Destruct implements caddy.Destructor.
func (l *bankList) Destruct() error {
	l.logos.CloseIdleConnections()
	return nil
}

// offered returns the banks that the option providers covers, or may cover.
func (c *bankChoice) offered(ctx context.Context) (offered []banks.Bank, err error) {
	list, err := c.keeper.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range list {
		if banks.Covers(c.providers, b) != banks.No {
			offered = append(offered, b)
		}
	}
	return offered, nil
}

// find returns the bank with an id, if a login can lead straight to it. Otherwise it leads
// to TrueLayer's own dialog: for a bank that the list does not have, that the option
// providers does not cover or may not cover, that does not work now, or that asks for text.
// The option provider_id covers its own bank.
func (c *bankChoice) find(ctx context.Context, id string) (banks.Bank, bool) {
	list, err := c.keeper.List(ctx)
	if err != nil {
		return banks.Bank{}, false
	}
	for _, b := range list {
		if b.ID == id {
			covered := b.ID == c.only || banks.Covers(c.providers, b) == banks.Yes
			return b, covered && b.Healthy && !b.Dialog
		}
	}
	return banks.Bank{}, false
}
