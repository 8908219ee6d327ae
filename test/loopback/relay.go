package loopback

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Relay stands between clients and a server. As a firewall does, it can forget
// connections without telling either end; and, as behind a virtual address, the
// server may become another one while what is connected stays so.
type Relay struct {
	// Address is where clients find the relay.
	Address string

	to     atomic.Pointer[string]
	opened atomic.Int64
	open   atomic.Int64

	mu    sync.Mutex
	alive []*atomic.Bool
}

// NewRelay returns a relay to the server at an address. It ends with the test.
func NewRelay(t testing.TB, server string) *Relay {
	t.Helper()
	r := new(Relay)
	r.To(server)
	r.Address = Serve(t, func(client net.Conn) { r.relay(client, *r.to.Load()) })
	return r
}

// To sets the server of further connections.
func (r *Relay) To(server string) { r.to.Store(&server) }

// Opened is how many connections were opened so far.
func (r *Relay) Opened() int { return int(r.opened.Load()) }

// Open is how many connections clients have open.
func (r *Relay) Open() int { return int(r.open.Load()) }

// Forget makes the connections that are open now dead ones: what the client
// sends arrives and is acknowledged, and nothing comes back. Later connections
// are relayed.
func (r *Relay) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, alive := range r.alive {
		alive.Store(false)
	}
	r.alive = nil
}

func (r *Relay) relay(client net.Conn, address string) {
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	alive := new(atomic.Bool)
	alive.Store(true)
	r.mu.Lock()
	r.alive = append(r.alive, alive)
	r.mu.Unlock()
	r.opened.Add(1)
	r.open.Add(1)
	defer r.open.Add(-1)
	go func() {
		_, _ = io.Copy(whileAlive{client, alive}, server)
		if alive.Load() {
			_ = client.Close()
		}
	}()
	_, _ = io.Copy(server, client)
}

// whileAlive is the client's end, to which nothing comes once the connection is
// dead.
type whileAlive struct {
	io.Writer
	alive *atomic.Bool
}

func (w whileAlive) Write(p []byte) (int, error) {
	if !w.alive.Load() {
		return len(p), nil
	}
	return w.Writer.Write(p)
}

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
