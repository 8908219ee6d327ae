package truelayer

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// loginInfix follows the session cookie's name in the name of a login cookie.
const loginInfix = "-login-"

// bankSuffix follows the session cookie's name in the name of the cookie with the bank that
// a browser has connected last.
const bankSuffix = "-bank"

// formSuffix follows the session cookie's name in the name of the cookie that belongs to
// the forms of pages.
const formSuffix = "-form"

// isOwnSuffix reports whether one of the module's cookies has a name with this behind the
// session cookie's name.
func isOwnSuffix(suffix string) bool {
	return suffix == "" || suffix == bankSuffix || suffix == formSuffix || strings.HasPrefix(suffix, loginInfix)
}

// belongsTo reports whether a cookie is one of the block whose session cookie has the
// name session.
func belongsTo(cookie, session string) bool {
	rest, ok := strings.CutPrefix(cookie, session)
	return ok && isOwnSuffix(rest)
}

// hostCookies holds the names of the session cookies of all blocks on a host that set
// cookie_name. Browsers send these cookies to every block on the host, so each block
// strips those of the others from the requests that it lets through. Default names
// need no such list, see hasDefaultName.
type hostCookies struct {
	mu    sync.Mutex
	all   []string                 // one for each block, "" for a default name
	names atomic.Pointer[[]string] // all, sorted, without repetitions and ""
}

// hosts holds the hostCookies of each host.
var hosts = caddy.NewUsagePool()

// Destruct implements caddy.Destructor.
func (*hostCookies) Destruct() error { return nil }

// joinHost adds the session cookie of a block, "" for a default name, to the cookies of
// its host and returns them. leaveHost removes it.
func joinHost(host, cookie string) (*hostCookies, error) {
	value, _, err := hosts.LoadOrNew(host, func() (caddy.Destructor, error) { return new(hostCookies), nil })
	if err != nil {
		return nil, err
	}
	cookies := value.(*hostCookies)
	cookies.update(func(all []string) []string { return append(all, cookie) })
	return cookies, nil
}

func leaveHost(host string, cookies *hostCookies, cookie string) error {
	cookies.update(func(all []string) []string {
		if i := slices.Index(all, cookie); i >= 0 {
			all = slices.Delete(all, i, i+1)
		}
		return all
	})
	_, err := hosts.Delete(host)
	return err
}

func (c *hostCookies) update(change func([]string) []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = change(c.all)
	names := slices.Compact(slices.Sorted(slices.Values(c.all)))
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	c.names.Store(&names)
}

// has reports whether a cookie is one of a block's.
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
