package truelayer

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// tracerName is the name of this module's tracer (OpenTelemetry's instrumentation scope).
const tracerName = "github.com/caddy-truelayer/caddy-truelayer"

// The names of the attributes of spans. OpenTelemetry has names for the last two.
const (
	outcomeAttribute     = "truelayer.outcome"
	reasonAttribute      = "truelayer.reason"
	grantAttribute       = "truelayer.grant"
	correlationAttribute = "truelayer.correlation_id"
	resultAttribute      = "truelayer.result"
	statusAttribute      = "http.response.status_code"
	errorTypeAttribute   = "error.type"
)

// startSpan starts a span below the one in ctx, with the tracer provider of that one:
// Caddy's tracing directive sets no global provider. It returns nil if the request is not
// traced. The span in ctx may have ended, since work in the background outlives requests.
func startSpan(ctx context.Context, name string, options ...trace.SpanStartOption) trace.Span {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() {
		return nil
	}
	_, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, name, options...)
	return span
}

// noteOutcome adds what became of a request to the request's own span. It reports whether
// the request is traced.
func noteOutcome(ctx context.Context, o outcome, r reason) bool {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return false
	}
	span.SetAttributes(attribute.String(outcomeAttribute, o.String()))
	if r != "" {
		span.SetAttributes(attribute.String(reasonAttribute, string(r)))
	}
	return true
}

// endStoreSpan ends the span of a store's operation. That a record is absent, say, is a
// result and no error.
func endStoreSpan(span trace.Span, err error) {
	result := storeResults[storeResult(err)]
	span.SetAttributes(attribute.String(resultAttribute, result))
	if result == "error" {
		span.SetStatus(codes.Error, "the store failed")
	}
	span.End()
}

// startTokenSpan starts the span of a token request, nil if it is not traced.
func startTokenSpan(ctx context.Context, grant string) trace.Span {
	return startSpan(ctx, "truelayer.token", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String(grantAttribute, grant)))
}

// startLinkSpan starts the span of a request for a link, nil if it is not traced.
func startLinkSpan(ctx context.Context, name string) trace.Span {
	return startSpan(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
}

// startNameSpan starts the span of a question about a name, nil if it is not traced.
func startNameSpan(ctx context.Context) trace.Span {
	return startSpan(ctx, "truelayer.verify_name", trace.WithSpanKind(trace.SpanKindClient))
}

// endNameSpan ends the span of a question about a name, if there is one.
func endNameSpan(span trace.Span, result vouch.Result, err error) {
	if span == nil {
		return
	}
	span.SetAttributes(attribute.String(resultAttribute, result.String()))
	if answer, ok := errors.AsType[*authserver.Error](err); ok && answer.CorrelationID != "" {
		span.SetAttributes(attribute.String(correlationAttribute, answer.CorrelationID))
	}
	if err != nil {
		span.SetStatus(codes.Error, "the request failed")
	}
	span.End()
}

// endCallSpan ends the span of a request to the auth server.
func endCallSpan(span trace.Span, result authserver.TokenResult) {
	if result.Status != 0 {
		span.SetAttributes(attribute.Int(statusAttribute, result.Status))
	}
	if result.CorrelationID != "" {
		span.SetAttributes(attribute.String(correlationAttribute, result.CorrelationID))
	}
	if result.Err != nil {
		span.SetAttributes(attribute.String(errorTypeAttribute, tokenResult(result.Err)))
		span.SetStatus(codes.Error, "the request failed")
	}
	span.End()
}

// startWaitSpan starts the span of a request that waits for work, nil if the request is
// not traced. If another request has begun the work, the span links to that one.
func startWaitSpan(ctx context.Context, work session.Work, starter context.Context) trace.Span {
	own, other := trace.SpanContextFromContext(ctx), trace.SpanContextFromContext(starter)
	if other.IsValid() && !other.Equal(own) {
		return startSpan(ctx, "truelayer.wait "+string(work), trace.WithLinks(trace.Link{SpanContext: other}))
	}
	return startSpan(ctx, "truelayer.wait "+string(work))
}
