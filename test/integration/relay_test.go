package integration

import (
	"net"
	"slices"
	"sync"
	"testing"
)

// relay stands between a QUIC client and Caddy, and remembers what the client
// sent before it heard of Caddy.
type relay struct {
	client  net.PacketConn // what the client takes for Caddy
	server  *net.UDPConn
	through chan struct{} // closed when the client may hear of Caddy

	mu     sync.Mutex
	from   net.Addr
	flight [][]byte
}

func newRelay(t *testing.T, address string) *relay {
	t.Helper()
	r := &relay{through: make(chan struct{})}
	var err error
	if r.client, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	r.server = dialUDP(t, address)
	t.Cleanup(func() { _ = r.client.Close() })
	go r.forth()
	go r.back()
	return r
}

func dialUDP(t *testing.T, address string) *net.UDPConn {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UDPConn)
}

func (r *relay) address() string { return r.client.LocalAddr().String() }

// open lets the client hear of Caddy.
func (r *relay) open() { close(r.through) }

func (r *relay) forth() {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := r.client.ReadFrom(buffer)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.from = from
		select {
		case <-r.through:
		default:
			r.flight = append(r.flight, slices.Clone(buffer[:n]))
		}
		r.mu.Unlock()
		_, _ = r.server.Write(buffer[:n])
	}
}

func (r *relay) back() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.server.Read(buffer)
		if err != nil {
			return
		}
		<-r.through
		r.mu.Lock()
		to := r.from
		r.mu.Unlock()
		_, _ = r.client.WriteTo(buffer[:n], to)
	}
}

// elsewhere returns a function that sends Caddy, from another address, what the
// client sent first.
func (r *relay) elsewhere(t *testing.T) (again func()) {
	t.Helper()
	conn := dialUDP(t, r.server.RemoteAddr().String())
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, datagram := range r.flight {
			_, _ = conn.Write(datagram)
		}
	}
}
