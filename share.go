package truelayer

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// shares gives each network a share of what may be under way. A network that
// has nothing under way and waits for nothing is not remembered.
type shares struct {
	mu    sync.Mutex
	taken map[netip.Prefix]*share
}

type share struct {
	slots   chan struct{} // filled by those under way
	wanting int           // those, and the ones that wait
}

// take waits for a place in the network's share, which leave gives back. The
// error is a failure: too many wait already, or ctx has ended.
func (s *shares) take(ctx context.Context, network netip.Prefix) (leave func(), err error) {
	s.mu.Lock()
	mine, ok := s.taken[network]
	if !ok {
		mine = &share{slots: make(chan struct{}, maxClientExchanges)}
		if s.taken == nil {
			s.taken = make(map[netip.Prefix]*share)
		}
		s.taken[network] = mine
	}
	if mine.wanting >= maxClientWaiting {
		s.mu.Unlock()
		return nil, failure{reason: tooManyLogins}
	}
	mine.wanting++
	s.mu.Unlock()
	done := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if mine.wanting--; mine.wanting == 0 {
			delete(s.taken, network)
		}
	}
	select {
	case mine.slots <- struct{}{}:
		return func() {
			<-mine.slots
			done()
		}, nil
	case <-ctx.Done():
		done()
		return nil, failure{reason: tooManyLogins, cause: ctx.Err()}
	}
}

// clientNetwork is where the client is: its address as Caddy knows it, which
// takes a proxy's word for it only from trusted_proxies. Of IPv6 the first 64
// bits count, as one customer has all of the rest.
func clientNetwork(r *http.Request) netip.Prefix {
	text, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	if !ok {
		text, _, _ = net.SplitHostPort(r.RemoteAddr)
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{} // all of those share one share
	}
	address = address.Unmap().WithZone("")
	bits := 64
	if address.Is4() {
		bits = 32
	}
	network, _ := address.Prefix(bits)
	return network
}
