package doctor

import (
	"context"
	"net/http"
	"time"
)

// Block is what is checked, and what the checks need for it.
type Block struct {
	// Options, Credentials and AccessLogs are what the configuration alone tells.
	Options     []Note
	Credentials []Credential
	AccessLogs  AccessLogs

	AuthServer  string // its base URL
	RedirectURI string
	ProviderID  string // or ""
	KeySet      string // the key set's URL, or ""
	// OwnErrorPages says that the site draws the module's error pages.
	OwnErrorPages bool

	TrueLayer TrueLayer
	// Store is nil if it cannot be reached from here, and NoStore says why.
	Store   Store
	NoStore string

	// Offline leaves out what needs the network.
	Offline bool
	// Now is the clock that is compared with TrueLayer's.
	Now func() time.Time
	// HTTP makes the calls that carry no secret. Nil means connections of the block's own.
	HTTP http.RoundTripper
}

// Note is something that the configuration's author should know.
type Note struct {
	Level        Level
	Seen, Remedy string
}

// TrueLayer is the auth server, as the block's client uses it.
type TrueLayer interface {
	// Providers lists the providers that the client may use.
	Providers(ctx context.Context) (Listing, error)
	// Exchange sends an authorization code to the token endpoint.
	Exchange(ctx context.Context, code string) TokenAnswer
	// AuthLink makes a new auth link.
	AuthLink() string
	// UsableKeys fetches the key set and counts the keys that can check tokens.
	UsableKeys(ctx context.Context) (int, error)
}

// Listing is an answer with providers. Date and Status are there even if the list is
// not; Status is 0 if there was no answer.
type Listing struct {
	Providers []Provider
	Date      time.Time
	Status    int
}

// Provider is a bank. Status is "" if TrueLayer does not tell it.
type Provider struct{ ID, Status string }

// TokenAnswer is an answer of the token endpoint.
type TokenAnswer struct {
	// Status is the HTTP status, or 0 if there was no answer.
	Status int
	// Code is the error code, or "" if there is no readable one.
	Code string
	// CorrelationID is TrueLayer's id of the call, or "".
	CorrelationID string
	// Err is nil if the answer was a token.
	Err error
}

// Store keeps records for a while.
type Store interface {
	Create(ctx context.Context, id string, record []byte, ttl time.Duration) error
	Get(ctx context.Context, id string) ([]byte, error)
	Delete(ctx context.Context, id string) error
}

// Credential is the client's id or secret, as far as it may be shown.
type Credential struct {
	Option string
	// Problem says why the value cannot be used, or is "".
	Problem string
	// Literal says that it stands in the configuration itself and is a secret.
	Literal bool
	// Stale says that the placeholders stand for something else now than when the
	// configuration was loaded.
	Stale bool
}

// AccessLogs is what is known of the access logs of the block's server.
type AccessLogs struct {
	On       bool
	Filtered bool
	// Certain says that the filter is known to be on the access logs, not only
	// somewhere in the process.
	Certain bool
	// Unknown says why nothing is known, or is "".
	Unknown string
}
