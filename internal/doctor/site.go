package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"time"
)

// store writes, reads and deletes a record that is nobody's.
func (b *Block) store(ctx context.Context) Finding {
	switch {
	case b.Store == nil:
		return Finding{checkStore, Skipped, b.NoStore, ""}
	case b.Offline:
		return Finding{checkStore, Skipped, whyOffline, ""}
	}
	const remedy = "check that the store runs, that this machine reaches it, and its limit; until then requests that need a session get status 503"
	id, record := "doctor-"+rand.Text(), []byte("caddy truelayer doctor")
	began := b.Now()
	if err := b.Store.Create(ctx, id, record, time.Minute); err != nil {
		return Finding{checkStore, Failure, "writing a record failed: " + printable(err.Error()), remedy}
	}
	got, err := b.Store.Get(ctx, id)
	// also after a failure, and in its own time: what is left behind lasts a minute
	deleting, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout/2)
	defer cancel()
	deleted := b.Store.Delete(deleting, id)
	switch {
	case err != nil:
		return Finding{checkStore, Failure, "reading a record back failed: " + printable(err.Error()), remedy}
	case !bytes.Equal(got, record):
		return Finding{checkStore, Failure, "a record was read back changed", "check the store: what it keeps must not be changed"}
	case deleted != nil:
		return Finding{checkStore, Failure, "deleting a record failed: " + printable(deleted.Error()), remedy}
	}
	return Finding{checkStore, OK, fmt.Sprintf("a record was written, read and deleted in %v", b.Now().Sub(began).Round(time.Microsecond)), ""}
}

// redirectURI fetches the redirect URI as a visitor would, without a login's answer. The
// module refuses that in its own words.
func (b *Block) redirectURI(ctx context.Context) Finding {
	if b.Offline {
		return Finding{checkRedirect, Skipped, whyOffline, ""}
	}
	if b.RedirectURI == "" {
		return Finding{checkRedirect, Skipped, "there is no redirect_uri", ""}
	}
	answer, err := b.get(ctx, b.RedirectURI, "application/json")
	if err != nil {
		return b.notFetched(err)
	}
	var problem struct {
		Reason string `json:"reason"`
	}
	mediaType, _, _ := mime.ParseMediaType(answer.header.Get("Content-Type"))
	if mediaType == "application/problem+json" && json.Unmarshal(answer.body, &problem) == nil && problem.Reason == "callback_malformed" {
		return Finding{checkRedirect, OK, b.RedirectURI + " arrives at the module", ""}
	}
	const remedy = "point the host's DNS and every proxy in front to this Caddy, leave path and query unchanged on the way, and put no other site, password or rewrite before the block"
	switch location := answer.location; {
	case b.OwnErrorPages && answer.status == http.StatusBadRequest:
		return Finding{
			checkRedirect, Warning, "the answer has the status of the module's, 400, but disable_error_pages leaves its body to the site, so it may be another's",
			"log in once to be sure",
		}
	case location != nil:
		return Finding{
			checkRedirect, Failure, fmt.Sprintf("the answer is a redirect, %d, to %s%s", answer.status, printable(location.Host), printable(location.Path)),
			"register and configure the address that visitors end at; " + remedy,
		}
	case answer.status == http.StatusNotFound:
		return Finding{checkRedirect, Failure, "the answer is 404, not the module's: the address arrives at something else, or its path is rewritten", remedy}
	}
	return Finding{checkRedirect, Failure, fmt.Sprintf("the answer is %d and not the module's: the address arrives at something else", answer.status), remedy}
}

// notFetched says why the redirect URI has no answer. This machine is no visitor: it may
// not trust a certificate that browsers trust, or not reach its own public address.
func (b *Block) notFetched(err error) Finding {
	f := Finding{
		checkRedirect, Failure, "no answer: " + printable(withoutURL(err)),
		"check that Caddy runs, and that firewalls let visitors through; a machine that cannot reach its own public address needs the command with --config from another one",
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		f.Level, f.Remedy = Warning, "visitors' browsers have to trust the certificate: use a public one, or install the root that issued it on this machine to have this checked"
		return f
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		f.Remedy = "get a valid certificate for the host: browsers refuse this one"
		return f
	}
	f.Remedy = remedyOf(err, f.Remedy, "create a DNS record for the host of redirect_uri, or correct redirect_uri")
	return f
}
