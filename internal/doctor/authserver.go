package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// answer is what the first call to the auth server tells.
type answer struct {
	findings []Finding
	// skip is why the other checks of the auth server make no sense, or "".
	skip string
}

// maxSkew is how far the clocks may be apart.
const maxSkew = 30 * time.Second

// askAuthServer lists the providers. The one answer tells whether the auth server can
// be reached, what its clock says, and what the client may use.
func (b *Block) askAuthServer(ctx context.Context) answer {
	names := []string{checkAuthServer, checkClock, checkProviders}
	switch {
	case b.Offline:
		return skipAll(names, whyOffline)
	case b.TrueLayer == nil:
		return skipAll(names, "not checked, since the configuration cannot be used as it is")
	}
	listing, err := b.TrueLayer.Providers(ctx)
	if listing.Status == 0 {
		a := skipAll(names[1:], "not checked, since the auth server cannot be reached")
		a.findings = append([]Finding{b.unreachable(ctx, err)}, a.findings...)
		return a
	}
	seen := b.AuthServer + " answers"
	if strings.HasPrefix(b.AuthServer, "https:") {
		seen += ", and its certificate is valid"
	}
	return answer{findings: []Finding{{checkAuthServer, OK, seen, ""}, b.clock(listing), b.providers(listing, err)}}
}

func skipAll(names []string, why string) answer {
	a := answer{skip: why}
	for _, name := range names {
		a.findings = append(a.findings, Finding{name, Skipped, why, ""})
	}
	return a
}

// unreachable says why there was no answer.
func (b *Block) unreachable(ctx context.Context, err error) Finding {
	f := Finding{
		checkAuthServer, Failure, b.AuthServer + " does not answer: " + printable(withoutURL(err)),
		"allow outgoing connections from this machine to the auth server, or set HTTPS_PROXY for Caddy if they have to go through a proxy",
	}
	if ctx.Err() != nil {
		f.Seen = fmt.Sprintf("%s does not answer within %v", b.AuthServer, checkTimeout)
	}
	f.Remedy = remedyOf(err, f.Remedy, "check the option auth_server and the machine's resolver")
	return f
}

func (b *Block) clock(listing Listing) Finding {
	if listing.Date.IsZero() {
		return Finding{checkClock, Skipped, "the auth server's answer has no date", ""}
	}
	skew := b.Now().Sub(listing.Date).Truncate(time.Second)
	if skew.Abs() <= maxSkew {
		return Finding{checkClock, OK, fmt.Sprintf("this machine's clock and the auth server's agree to %v", maxSkew), ""}
	}
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	return Finding{
		checkClock, Failure, fmt.Sprintf("this machine's clock is %v %s the auth server's", skew.Abs(), way),
		"set this machine's clock, best with NTP: tokens would be taken for expired, or used after their end",
	}
}

func (b *Block) providers(listing Listing, err error) Finding {
	const console = "check client_id, and that it belongs to this environment; the Console shows which banks the client has"
	switch {
	case err != nil:
		return Finding{checkProviders, Failure, printable(err.Error()), "try again later, and check the option auth_server; logins do not need this list"}
	case len(listing.Providers) == 0:
		return Finding{checkProviders, Failure, "TrueLayer knows no bank for this client_id, or does not know the client", console}
	case b.ProviderID == "":
		return Finding{checkProviders, OK, fmt.Sprintf("the client may use %d banks", len(listing.Providers)), ""}
	}
	for _, p := range listing.Providers {
		if p.ID != b.ProviderID {
			continue
		}
		switch p.Status {
		case "":
			return Finding{checkProviders, OK, p.ID + " is there; TrueLayer does not say how well it works", ""}
		case "healthy":
			return Finding{checkProviders, OK, p.ID + " is there and healthy", ""}
		}
		return Finding{
			checkProviders, Warning, fmt.Sprintf("TrueLayer says that %s is %q", p.ID, printable(p.Status)),
			"logins at this bank may fail for now: look at TrueLayer's status page",
		}
	}
	return Finding{
		checkProviders, Failure, fmt.Sprintf("the client may use %d banks, and provider_id %s is none of them", len(listing.Providers), b.ProviderID),
		"correct provider_id, or have the bank enabled for the client in the Console",
	}
}

// tokenEndpoint sends a code that nobody was given. The answer tells whether the client
// is good: a wrong client is refused before its code is looked at.
func (b *Block) tokenEndpoint(ctx context.Context) Finding {
	a := b.TrueLayer.Exchange(ctx, inventedCode())
	support := ""
	if a.CorrelationID != "" {
		support = " (TrueLayer's correlation id is " + a.CorrelationID + ")"
	}
	switch {
	case a.Err == nil:
		return Finding{
			checkToken, Failure, "the token endpoint gave a token for an invented code, which TrueLayer never does",
			"check the option auth_server: this is some other server",
		}
	case a.Code == "invalid_grant":
		return Finding{checkToken, OK, "the client and its secret are accepted", ""}
	case a.Code == "invalid_client" || a.Code == "unauthorized_client" || a.Code == "unauthorized":
		return Finding{
			checkToken, Failure, "the client is refused with " + a.Code + support,
			"check client_id and client_secret in the Console, and that they belong to this environment: a secret is shown once, and a new one replaces it",
		}
	case a.Status == 0:
		return Finding{checkToken, Failure, printable(withoutURL(a.Err)), "try again, and check what lies between this machine and the auth server"}
	case a.Status == http.StatusTooManyRequests:
		return Finding{checkToken, Warning, "TrueLayer asks for fewer requests" + support, "try again later"}
	case a.Code != "" && a.Status < http.StatusInternalServerError:
		return Finding{
			checkToken, Warning, fmt.Sprintf("an invented code is answered with %d and %s%s; what that means is not documented", a.Status, printable(a.Code), support),
			"log in once to be sure; if the exchange fails, check client_id, client_secret and redirect_uri",
		}
	}
	return Finding{
		checkToken, Failure, fmt.Sprintf("the token endpoint answers with %d and no error code that is expected%s", a.Status, support),
		"try again later, and check the option auth_server; if it stays, ask TrueLayer's support",
	}
}

// inventedCode is random and has the form of TrueLayer's codes.
func inventedCode() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return fmt.Sprintf("%X", b[:])
}

func (b *Block) keySet(ctx context.Context) Finding {
	switch {
	case b.KeySet == "":
		return Finding{}
	case b.Offline:
		return Finding{checkKeySet, Skipped, whyOffline, ""}
	case b.TrueLayer == nil:
		return Finding{}
	}
	usable, err := b.TrueLayer.UsableKeys(ctx)
	const remedy = "correct verify_access_token, or leave it out: until its keys can be used nobody can log in"
	switch {
	case err != nil:
		return Finding{checkKeySet, Failure, b.KeySet + " cannot be used: " + printable(withoutURL(err)), remedy}
	case usable == 0:
		return Finding{checkKeySet, Failure, b.KeySet + " has no key for RS256, PS256 or ES256", remedy}
	}
	return Finding{checkKeySet, OK, fmt.Sprintf("usable keys in the key set: %d", usable), ""}
}
