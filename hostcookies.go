package truelayer

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// loginInfix stands in a login cookie's name behind the session cookie's.
const loginInfix = "-login-"

// belongsTo tells the cookies of the block whose session cookie has the name.
func belongsTo(cookie, session string) bool {
	rest, ok := strings.CutPrefix(cookie, session)
	return ok && (rest == "" || strings.HasPrefix(rest, loginInfix))
}

// hostCookies are the session cookies of a host's blocks that have a cookie_name.
// Browsers send them to all of the host, so each block takes those of the others off
// what it lets through. Default names need no such list, see hasDefaultName.
type hostCookies struct {
	mu    sync.Mutex
	all   []string // one for each block
	names atomic.Pointer[[]string]
}

// hosts has them by host.
var hosts = caddy.NewUsagePool()

// Destruct implements caddy.Destructor.
func (*hostCookies) Destruct() error { return nil }

// joinHost adds a block's cookie to those of its host, "" for a default name, and
// returns them. leaveHost takes it out.
func joinHost(host, cookie string) (*hostCookies, error) {
	value, _, err := hosts.LoadOrNew(host, func() (caddy.Destructor, error) { return new(hostCookies), nil })
	if err != nil {
		return nil, err
	}
	cookies := value.(*hostCookies)
	cookies.change(func(all []string) []string { return append(all, cookie) })
	return cookies, nil
}

func leaveHost(host string, cookies *hostCookies, cookie string) error {
	cookies.change(func(all []string) []string {
		if i := slices.Index(all, cookie); i >= 0 {
			all = slices.Delete(all, i, i+1)
		}
		return all
	})
	_, err := hosts.Delete(host)
	return err
}

func (c *hostCookies) change(change func([]string) []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = change(c.all)
	names := slices.Compact(slices.Sorted(slices.Values(c.all)))
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	c.names.Store(&names)
}

// has reports whether a cookie is the session's or a login's of one of the blocks.
func (c *hostCookies) has(cookie string) bool {
	if c == nil {
		return false
	}
	for _, name := range *c.names.Load() {
		if belongsTo(cookie, name) {
			return true
		}
	}
	return false
}
