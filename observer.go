package truelayer

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// siteObserver counts, traces and writes down what happens at a site.
type siteObserver struct {
	metrics *siteMetrics
	audit   *auditTrail
	logger  *zap.Logger
	now     func() time.Time
}

// requestServed counts a request, and adds what became of it to its span. For a request
// that goes on to the next handler it is called before that, since the next handler may
// panic, or serve a WebSocket for hours.
func (o *siteObserver) requestServed(q *request, became outcome) {
	q.counted = true
	o.metrics.requests[became].Inc()
	if became == outcomePublic && q.state != nil && q.state.traced {
		return // an earlier block has done more
	}
	if noteOutcome(q.Context(), became, q.reason) {
		state, _ := q.ensureState()
		state.traced = true
	}
}

// loginFailed notes that a login came back and began no session.
func (o *siteObserver) loginFailed(ctx context.Context, provider string, why reason) {
	o.metrics.loginEnded(provider, string(why))
	// the former is no login, and the latter one that tries again
	if why != callbackMalformed && why != tooManyLogins {
		o.audit.write(ctx, auditLine{event: auditLoginFailed, provider: provider, reason: why})
	}
}

// tokenRequest observes a request to the token endpoint.
func (o *siteObserver) tokenRequest(ctx context.Context, grant string) (done func(authserver.TokenResult)) {
	began, span := o.now(), startTokenSpan(ctx, grant)
	return func(result authserver.TokenResult) {
		o.metrics.tokenRequested(grant, result.Err, began, o.now())
		if span != nil {
			endCallSpan(span, result)
		}
	}
}

// bankLinkRequest observes a request for a link to a bank.
func (o *siteObserver) bankLinkRequest(ctx context.Context) (done func(*authserver.Error)) {
	return observeLink(o.metrics.bankLinks, startLinkSpan(ctx, "truelayer.bank_link"))
}

// renewalLinkRequest observes a request for a link that renews a connection.
func (o *siteObserver) renewalLinkRequest(ctx context.Context) (done func(*authserver.Error)) {
	return observeLink(o.metrics.renewalLinks, startLinkSpan(ctx, "truelayer.renewal_link"))
}

// observeLink observes a request for a link. The span is nil if it is not traced.
func observeLink(counters map[string]prometheus.Counter, span trace.Span) (done func(*authserver.Error)) {
	return func(err *authserver.Error) {
		counters[tokenResult(err)].Inc()
		if span == nil {
			return
		}
		result := authserver.TokenResult{Status: http.StatusOK, Err: err}
		if err != nil {
			result.Status, result.CorrelationID = err.Status, err.CorrelationID
		}
		endCallSpan(span, result)
	}
}

// nameAsked observes a question to a bank about a name.
func (o *siteObserver) nameAsked(ctx context.Context) (done func(vouch.Result, error)) {
	began, span := o.now(), startNameSpan(ctx)
	return func(result vouch.Result, err error) {
		o.metrics.names[result.String()].Inc()
		o.metrics.nameDuration.Observe(o.now().Sub(began).Seconds())
		endNameSpan(span, result, err)
		if err != nil {
			o.logNameFailure(ctx, err)
			return
		}
		if s, ok := ctx.Value(vouchedKey{}).(*session.Session); ok {
			line := lineOf(auditNameVerified, s)
			line.extra = [][2]string{{"result", result.String()}}
			o.audit.write(ctx, line)
		}
	}
}

// logNameFailure logs why a bank gave no word. TrueLayer's 403 is the operator's to mend.
func (o *siteObserver) logNameFailure(ctx context.Context, err error) {
	fields := []zap.Field{zap.String("site", o.audit.site), zap.String("request_id", causeOf(ctx).requestID), zap.Error(err)}
	if refused, ok := errors.AsType[*authserver.Error](err); ok && refused.Status == http.StatusForbidden {
		o.logger.Error("TrueLayer does not let this client verify names: ask its support to enable the Verification API for the client id", fields...)
		return
	}
	o.logger.Warn("a bank could not be asked about a name", fields...)
}

// consentGiven notes that a visitor has consented on the site's own page, to a text with
// the digest.
func (o *siteObserver) consentGiven(ctx context.Context, l *login, scopes []string, language, digest string) {
	o.audit.write(ctx, auditLine{
		event: auditConsentGiven, provider: l.provider, scopes: strings.Join(scopes, " "),
		extra: [][2]string{{"consent_id", l.consentID}, {"text_sha256", digest}, {"text_language", language}},
	})
}

// SessionBegan implements session.Observer.
func (o *siteObserver) SessionBegan(ctx context.Context, s *session.Session) {
	o.metrics.loginEnded(s.Provider, resultOK)
	line := lineOf(auditLogin, s)
	from := causeOf(ctx)
	line.extra = from.login.extra(s)
	o.audit.write(ctx, line)
}

// LoginFailed implements session.Observer.
func (o *siteObserver) LoginFailed(ctx context.Context, provider string, err *session.Error) {
	// if the code was not sent, the callback's answer tells whether the login has failed
	if why := failureOf(err).reason; why != loginUsed && why != tooManyLogins {
		o.loginFailed(ctx, provider, why)
	}
}

// RefreshFailed implements session.Observer.
func (o *siteObserver) RefreshFailed(ctx context.Context, s *session.Session, err *session.Error) {
	line := lineOf(auditRefreshFailed, s)
	line.reason = failureOf(err).reason
	o.audit.write(ctx, line)
}

// SessionEnded implements session.Observer.
func (o *siteObserver) SessionEnded(ctx context.Context, s *session.Session, cause session.Cause) {
	if cause == session.EndedByConsent || !s.ConsentIsOver() { // that was its end
		o.metrics.sessionsEnded[cause].Inc()
	}
	o.audit.write(ctx, lineOf(map[session.Cause]auditEvent{
		session.EndedByLogout:  auditLogout,
		session.EndedByConsent: auditConsentEnded,
		session.EndedByLogin:   auditSessionReplaced,
	}[cause], s))
}

// sessionRevoked notes that an operator has ended a session.
func (o *siteObserver) sessionRevoked(ctx context.Context, l *session.Listed) {
	o.metrics.sessionsEnded[session.EndedByRevocation].Inc()
	o.audit.write(ctx, auditLine{event: auditSessionRevoked, session: l.ShortID(), provider: l.Provider})
}

// Disconnected implements session.Observer.
func (o *siteObserver) Disconnected(ctx context.Context, s *session.Session) {
	o.audit.write(ctx, lineOf(auditDisconnected, s))
}

// Waits implements session.Observer.
func (o *siteObserver) Waits(ctx context.Context, work session.Work, starter context.Context) (done func()) {
	began, span := o.now(), startWaitSpan(ctx, work, starter)
	return func() {
		if work == session.Refresh {
			o.metrics.refreshWait.Observe(o.now().Sub(began).Seconds())
		}
		if span != nil {
			span.End()
		}
	}
}

// Interface guard
var _ session.Observer = (*siteObserver)(nil)
