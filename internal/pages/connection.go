package pages

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
)

// Connection is the content of the page on which a visitor sees a bank connection.
type Connection struct {
	// Site is the host that has the connection, and Bank the bank's name, or "".
	Site, Bank string
	// Scopes are what the bank shares.
	Scopes                 []string
	Since, Until, LastUsed time.Time
	// Renew, Disconnect and SignOut are the URLs to which the buttons post. Without one
	// there is no button.
	Renew, Disconnect, SignOut string
	// SignOutEnds says that signing out ends the connection, too.
	SignOutEnds bool
	// Home is the URL of the site's home page, or "".
	Home string
}

var (
	//go:embed connection.html
	connectionText string

	connectionLayout = template.Must(template.Must(layout.Clone()).New("connection").Parse(connectionText))

	// connectionPolicy does not limit where forms go, for the reason that consentPolicy has.
	connectionPolicy = policy + "; frame-ancestors 'none'"
)

// Draw returns the HTML of the page and its Content-Security-Policy.
func (p *Connection) Draw() (body []byte, contentPolicy string, err error) {
	var b bytes.Buffer
	if err := connectionLayout.Execute(&b, p); err != nil {
		return nil, "", err
	}
	return b.Bytes(), connectionPolicy, nil
}

// Words returns the text of a part of the page.
func (*Connection) Words(part string) Text { return TextOf("connection_" + part) }

// SignOutLabel returns the label of the button that signs out.
func (*Connection) SignOutLabel() string { return TextOf("sign_out").Action }

// Shared returns what the bank shares, in plain words.
func (p *Connection) Shared() (shared []string) {
	for _, scope := range p.Scopes {
		text := TextOf("scope_" + scope).Text
		switch {
		case scope == "offline_access":
			continue // see Offline
		case text == "":
			text = fmt.Sprintf(TextOf("scope_unknown").Text, scope)
		}
		shared = append(shared, text)
	}
	return shared
}

// Offline reports whether the site can collect data while the visitor is away.
func (p *Connection) Offline() bool { return slices.Contains(p.Scopes, "offline_access") }

// Moment is a time on the page.
type Moment struct{ Machine, Words string }

// Moment returns a time as machines and people read it.
func (*Connection) Moment(t time.Time) Moment {
	t = t.UTC()
	return Moment{t.Format(time.RFC3339), fmt.Sprintf(TextOf("moment").Text, Date(t), t.Format("15:04"))}
}

// Date returns the date of a time in words, in UTC.
func Date(t time.Time) string {
	t = t.UTC()
	months := strings.Fields(TextOf("months").Text)
	return fmt.Sprintf(TextOf("date").Text, t.Day(), months[t.Month()-1], t.Year())
}
