package pages

import (
	"slices"
	"time"
)

// Connection is the content of the page on which a visitor sees a bank connection.
type Connection struct {
	// Bank is the bank's name, or "".
	Bank string
	// Scopes are what the bank shares.
	Scopes                 []string
	Since, Until, LastUsed time.Time
	// Session names the session that the page shows, in the forms that renew and disconnect.
	Session string
	// Renew, Disconnect and SignOut are the URLs to which the buttons post. Without one
	// there is no button.
	Renew, Disconnect, SignOut string
	// SignOutEnds says that signing out ends the connection, too.
	SignOutEnds bool
	// Home is the URL of the site's home page, or "".
	Home string
}

func (p *Connection) template() string { return "connection" }

// policy does not limit where forms go, for the reason that the consent page has.
func (p *Connection) policy() string { return notFramed }

// Offline reports whether the site can collect data while the visitor is away.
func (p *Connection) Offline() bool { return slices.Contains(p.Scopes, "offline_access") }
