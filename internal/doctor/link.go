package doctor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// dialogHosts are the hosts of TrueLayer's dialog.
var dialogHosts = []string{"login.truelayer.com", "login.truelayer-sandbox.com"}

// maxRedirects is how many redirects of an auth link are followed. A browser sees one.
const maxRedirects = 5

// authLink opens an auth link, which is used up by it. TrueLayer checks the client, the
// environment, the scopes and the redirect URI before it shows a bank.
func (b *Block) authLink(ctx context.Context) Finding {
	at, err := url.Parse(b.TrueLayer.AuthLink())
	if err != nil {
		return Finding{checkLink, Failure, "the auth link is no URL", "check the option auth_server"}
	}
	follow := append([]string{at.Host}, dialogHosts...)
	for range maxRedirects {
		answer, err := b.get(ctx, at.String(), "text/html")
		if err != nil {
			return Finding{checkLink, Failure, "no answer from " + at.Host + ": " + printable(withoutURL(err)), "try again, and open " + at.Host + " in a browser"}
		}
		if answer.status >= http.StatusBadRequest {
			return refused(fmt.Sprintf("%s answers with %d", at.Host, answer.status), Failure)
		}
		location := answer.location
		if location == nil {
			return Finding{
				checkLink, Warning, fmt.Sprintf("%s answers with %d and leads to no dialog that is known", at.Host, answer.status),
				"open an auth link in a browser: caddy truelayer auth-link",
			}
		}
		if f := b.judge(location); f.Check != "" {
			return f
		}
		if !slices.Contains(follow, location.Host) || location.Scheme != at.Scheme {
			return Finding{
				checkLink, Warning, "the link leads on to " + printable(location.Host) + ", where it was not followed",
				"open an auth link in a browser: caddy truelayer auth-link",
			}
		}
		at = location
	}
	return refused("the link leads in a circle", Failure)
}

// judge says what an address to which the link leads means, if it is known.
func (b *Block) judge(location *url.URL) Finding {
	query := location.Query()
	if home, _, _ := strings.Cut(location.String(), "?"); home == b.RedirectURI {
		if reason := query.Get("error"); reason != "" {
			return refused("TrueLayer sends the visitor back with the error "+printable(reason), Failure)
		}
		return Finding{
			checkLink, Warning, "the link leads straight back to the redirect URI, without a bank",
			"check the option auth_server: TrueLayer asks the visitor first",
		}
	}
	if strings.HasSuffix(strings.TrimSuffix(location.Path, "/"), "/error") {
		return refused("the link leads to "+printable(location.Host+location.Path)+
			", where TrueLayer is seen to refuse a wrong client, environment or redirect URI (known from others' programs, not from its documentation)", Warning)
	}
	if query.Get("session_id") != "" {
		return Finding{checkLink, OK, "the link opens a dialog, so client, redirect URI and environment fit; one link was used up", ""}
	}
	return Finding{}
}

func refused(seen string, level Level) Finding {
	return Finding{
		checkLink, level, seen,
		"register exactly this redirect_uri in the Console (a change takes up to 15 minutes), check client_id, environment, scopes and provider_id, and open an auth link in a browser to read the reason: caddy truelayer auth-link",
	}
}
