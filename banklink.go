package truelayer

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/flight"
	"github.com/caddy-truelayer/caddy-truelayer/internal/pages"
	"github.com/caddy-truelayer/caddy-truelayer/internal/tlapi"
)

// bankLinkBounds bound the requests for links to banks, of all blocks with the same client
// together. Anybody can cause one.
var bankLinkBounds = flight.Bounds{All: 16, Network: 4, Waiting: 64, Queue: 1024, EachMinute: 30, Timeout: 20 * time.Second}

// bankLinks asks TrueLayer for links that lead straight to a bank.
type bankLinks struct {
	requests   *flight.Fair // shared by the blocks with the same client; nil until the block is connected
	client     *authserver.Client
	scopes     []string
	trackingID string
	observer   *siteObserver
	now        func() time.Time
}

// consent is a consent that a visitor gives.
type consent struct {
	login   login
	answers answers
	text    consentText
}

// consentText is a text to which visitors consent.
type consentText struct {
	pages.ConsentText
	digest string
}

// bankLink is a link to a bank, with the login that it belongs to.
type bankLink struct {
	url   string
	login login
}

// get asks for a link. Repetitions of a form share one.
func (b *bankLinks) get(ctx context.Context, formID string, network netip.Prefix, given consent) (bankLink, error) {
	result, err := b.requests.Do(ctx, formID, network, func(ctx context.Context) (any, error) {
		link, err := b.request(ctx, given)
		notePause(b.requests, network, err)
		return link, err
	})
	if err != nil {
		return bankLink{}, err
	}
	return result.(bankLink), nil
}

// notePause notes that TrueLayer wants fewer requests, if an error says so.
func notePause(requests *flight.Fair, network netip.Prefix, err error) {
	if answer, ok := errors.AsType[*authserver.Error](err); ok && answer.Status == http.StatusTooManyRequests {
		requests.Pause(network, max(answer.RetryAfter, time.Second))
	}
}

// request writes the consent into the audit trail, and asks for a link. It does so in this
// order, since TrueLayer may have the request even if its answer does not come.
func (b *bankLinks) request(ctx context.Context, given consent) (bankLink, error) {
	l := given.login // each caller has its own, since the result is shared
	var id [16]byte
	_, _ = rand.Read(id[:])
	l.consentID = hex.EncodeToString(id[:])
	b.observer.consentGiven(ctx, &l, b.scopes, given.text.Language, given.text.digest)
	done := b.observer.bankLinkRequest(ctx)
	url, err := tlapi.RequestBankLink(ctx, b.client.Server, &tlapi.BankLinkRequest{
		ClientID: b.client.ID, RedirectURI: l.redirectURI, Scopes: b.scopes, State: l.state, Verifier: l.verifier,
		ConsentID: l.consentID, DataUse: given.text.String(), User: given.answers.user, ProviderID: l.provider,
		Inputs: given.answers.inputs, TrackingID: b.trackingID,
	}, b.now)
	answer, _ := errors.AsType[*authserver.Error](err)
	done(answer)
	return bankLink{url, l}, err
}

// bankLinkFailure returns the failure for an error of get.
func bankLinkFailure(err error) failure {
	f := failure{reason: bankLinkUnavailable, cause: err}
	if busy, ok := errors.AsType[*flight.BusyError](err); ok {
		f.reason, f.retryAfter = tooManyConsents, busy.RetryAfter
	}
	if answer, ok := errors.AsType[*authserver.Error](err); ok {
		switch {
		case answer.Status == http.StatusTooManyRequests:
			f.reason, f.retryAfter = tooManyConsents, cmp.Or(answer.RetryAfter, time.Second)
		case answer.Status/100 == 4 && answer.Code != "":
			f.reason = bankLinkRefused
		}
	}
	return f
}
