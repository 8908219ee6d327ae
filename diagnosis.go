package truelayer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/doctor"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

// diagnosis returns what the doctor gets of a block whose options are prepared, but for
// what only a running Caddy or only a configuration file tells.
func (h *Handler) diagnosis(clientID string, secret authserver.Secret) doctor.Block {
	b := doctor.Block{
		AuthServer: h.AuthServer, RedirectURI: h.RedirectURI, ProviderID: h.ProviderID, KeySet: h.VerifyAccessToken,
		OwnErrorPages: h.DisableErrorPages, Now: time.Now,
	}
	for _, warning := range h.optionWarnings(clientID, askedFor{}) {
		b.Options = append(b.Options, noteOf(warning))
	}
	// connections of its own, since one that is open already hides a name that does
	// not resolve any more, or a certificate that has expired
	b.TrueLayer = &diagnosedClient{
		client:   &authserver.Client{Server: authserver.NewServer(h.AuthServer), ID: clientID, Secret: secret, Now: time.Now},
		link:     h.authorizationRequest(),
		disabled: h.DisablePKCE,
		keySet:   h.VerifyAccessToken,
	}
	return b
}

// noteOf splits a warning into what is wrong and what to do.
func noteOf(warning string) doctor.Note {
	for _, separator := range []string{": ", "; "} {
		if seen, remedy, found := strings.Cut(warning, separator); found {
			return doctor.Note{Level: doctor.Warning, Seen: seen, Remedy: remedy}
		}
	}
	return doctor.Note{Level: doctor.Warning, Seen: warning}
}

// credentialsOf says how the client's id and secret are configured. The error of their
// expansion names the option first.
func (h *Handler) credentialsOf(err error) []doctor.Credential {
	credentials := []doctor.Credential{{Option: "client_id"}, {Option: "client_secret"}}
	for i, value := range []string{h.ClientID, valueOf(h.ClientSecret)} {
		c := &credentials[i]
		switch {
		case err != nil && strings.HasPrefix(err.Error(), c.Option):
			c.Problem = err.Error()
		case strings.HasPrefix(value, "$"):
			c.Problem = c.Option + " begins with $, which nothing replaces: write {env.NAME}"
		case c.Option == "client_secret":
			c.Literal = !strings.Contains(value, "{")
		}
	}
	return credentials
}

func valueOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// diagnosedClient is a block's client, without what counts its calls.
type diagnosedClient struct {
	client   *authserver.Client
	link     authserver.AuthorizationRequest
	disabled bool // PKCE
	keySet   string
}

// Providers implements doctor.TrueLayer.
func (d *diagnosedClient) Providers(ctx context.Context) (doctor.Listing, error) {
	list, err := tlapi.ListProviders(ctx, d.client.Server, d.client.ID)
	listing := doctor.Listing{Date: list.Date, Status: list.Status}
	for _, p := range list.Providers {
		listing.Providers = append(listing.Providers, doctor.Provider{ID: p.ID, Status: p.Status})
	}
	return listing, err
}

// Exchange implements doctor.TrueLayer.
func (d *diagnosedClient) Exchange(ctx context.Context, code string) doctor.TokenAnswer {
	_, err := d.client.Exchange(ctx, code, d.link.RedirectURI, d.verifier())
	a := doctor.TokenAnswer{Err: err}
	if refused, ok := errors.AsType[*authserver.Error](err); ok {
		a.Status, a.Code, a.CorrelationID = refused.Status, refused.Code, refused.CorrelationID
	}
	return a
}

// AuthLink implements doctor.TrueLayer. Nobody keeps the link's state and verifier, so
// no login can follow from it.
func (d *diagnosedClient) AuthLink() string {
	link := d.link
	link.State, link.Verifier = randomText(), d.verifier()
	return d.client.AuthLink(link)
}

func (d *diagnosedClient) verifier() authserver.Secret {
	if d.disabled {
		return authserver.Secret{}
	}
	return authserver.NewSecret(randomText())
}

// UsableKeys implements doctor.TrueLayer.
func (d *diagnosedClient) UsableKeys(ctx context.Context) (int, error) {
	return authserver.UsableKeys(ctx, d.keySet)
}

// close gives the connections back.
func (d *diagnosedClient) close() { d.client.Server.CloseIdleConnections() }

// diagnosisOfSite is what was found at a site.
type diagnosisOfSite struct {
	Site     string           `json:"site"`
	Findings []doctor.Finding `json:"findings"`
}

// diagnoses is the doctor's answer.
type diagnoses struct {
	OK     bool              `json:"ok"`
	Blocks []diagnosisOfSite `json:"blocks"`
}

// doctorTimeout bounds all checks of all blocks.
const doctorTimeout = time.Minute

// examine runs the doctor for blocks, each of which belongs to the site at its index.
func examine(ctx context.Context, sites []string, blocks []doctor.Block) diagnoses {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	found := diagnoses{Blocks: make([]diagnosisOfSite, 0, len(blocks))}
	for i, findings := range doctor.ExamineAll(ctx, blocks) {
		found.Blocks = append(found.Blocks, diagnosisOfSite{sites[i], findings})
		if client, ok := blocks[i].TrueLayer.(*diagnosedClient); ok {
			client.close()
		}
	}
	found.OK = !slices.ContainsFunc(found.Blocks, func(b diagnosisOfSite) bool { return !doctor.Passed(b.Findings) })
	return found
}

// authLink is the link to which a visitor of a site would be sent.
type authLink struct {
	Site string `json:"site"`
	URL  string `json:"url"`
}

// authLinks is the answer with auth links.
type authLinks struct {
	Links []authLink `json:"links"`
}

// Interface guards
var _ doctor.TrueLayer = (*diagnosedClient)(nil)
