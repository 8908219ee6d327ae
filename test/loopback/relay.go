package loopback

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// Relay is an address that stands for another one, which may change. What is
// connected stays so, as behind a virtual address.
type Relay struct {
	Address string

	to    atomic.Pointer[string]
	dials atomic.Int64
}

// StartRelay starts a relay, which ends with the test.
func StartRelay(t testing.TB, to string) *Relay {
	t.Helper()
	r := new(Relay)
	r.To(to)
	r.Address = Serve(t, func(conn net.Conn) {
		r.dials.Add(1)
		Forward(conn, *r.to.Load())
	})
	return r
}

// To sets where further connections go.
func (r *Relay) To(address string) { r.to.Store(&address) }

// Dials is how many connections there were.
func (r *Relay) Dials() int { return int(r.dials.Load()) }

// Forward connects a connection to an address until either end closes.
func Forward(conn net.Conn, address string) {
	behind, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer behind.Close()
	go func() {
		_, _ = io.Copy(behind, conn)
		_ = behind.Close()
	}()
	_, _ = io.Copy(conn, behind)
}
