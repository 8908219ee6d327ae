package truelayer

import (
	"context"
	"errors"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-truelayer/caddy-truelayer/internal/authserver"
	"github.com/caddy-truelayer/caddy-truelayer/internal/session"
	"github.com/caddy-truelayer/caddy-truelayer/internal/vouch"
)

// verifyAPI is a Verification API, and the questions of a client to it.
type verifyAPI struct {
	server *authserver.Server
	shared *vouch.Shared
}

// verifyAPIs holds the verifyAPI of each client. It is kept over reloads of the
// configuration.
var verifyAPIs = caddy.NewUsagePool()

// Destruct implements caddy.Destructor.
func (a *verifyAPI) Destruct() error {
	a.server.CloseIdleConnections()
	return nil
}

// nameVerifier has the bank vouch for the name that a request comes with.
type nameVerifier struct {
	placeholder string // says whose name it is; "" if the visitor says it on our own page
	sessions    *session.Manager
	asker       *vouch.Asker
	timeout     time.Duration // how long a request waits
	sendIP      bool
	now         func() time.Time
}

// claimed returns the name that a request comes with, folded, or "" if it has none that a
// bank can be asked about. It has to be called before the placeholders are set that
// describe the connection, since one of them may have the name.
func (v *nameVerifier) claimed(q *request) string {
	if v == nil || q.replacer == nil || v.placeholder == "" {
		return ""
	}
	text, err := q.replacer.ReplaceFunc(v.placeholder, func(key string, value any) (any, error) {
		if key == userID {
			return q.signedIn(value), nil
		}
		return value, nil
	})
	if name := vouch.Fold(text); err == nil && vouch.IsName(name) {
		return name
	}
	return ""
}

// signedIn returns whom an earlier handler such as basic_auth has signed in. The blocks that
// a request has gone through have replaced that by their connection.
func (q *request) signedIn(now any) any {
	if q.state != nil && q.state.session != nil && now == any(q.state.session.Connection) {
		return q.state.signedIn
	}
	return now
}

// verify returns the bank's word on a name. If it is not known, the bank is asked, and the
// request waits for no longer than the timeout. It returns nil if the block verifies no
// names.
func (v *nameVerifier) verify(q *request, s *session.Session, name string) *verification {
	if v == nil {
		return nil
	}
	state := vouch.Read(s.Kept)
	if v.placeholder == "" {
		name = state.Claimed
	}
	if name == "" {
		return &verification{vouch.State{Result: vouch.NotAsked, Score: -1}, ""}
	}
	secret := v.sessions.DeriveKey(s, "name")
	key, claimed := vouch.Key(secret[:], name), ""
	if v.placeholder == "" { // no name may stand beside the bank's word on another one
		claimed = name
	}
	known, ok := v.asker.Known(state, key)
	if !ok {
		known = v.ask(q, s, name, key)
	}
	return &verification{known, claimed}
}

// ask asks the bank.
func (v *nameVerifier) ask(q *request, s *session.Session, name, key string) vouch.State {
	ctx, cancel := context.WithTimeout(context.WithValue(q.withCause(), vouchedKey{}, s), v.timeout)
	defer cancel()
	question := vouch.Question{
		Session: &vouchedSession{v.sessions, s, v.now}, ID: s.ID(), Network: clientNetwork(q.Request), Name: name, Key: key,
	}
	if v.sendIP {
		question.ClientIP = clientIP(q.Request)
	}
	return v.asker.Ask(ctx, question)
}

// vouchedKey is the key of the session that a question is about, in the question's context.
type vouchedKey struct{}

// vouchedSession is a session whose bank is asked.
type vouchedSession struct {
	sessions *session.Manager
	session  *session.Session
	now      func() time.Time
}

var (
	errSessionGone               = errors.New("the session is gone")
	errTokenNotNew               = errors.New("there is no other access token")
	_              vouch.Session = (*vouchedSession)(nil)
)

// Load implements vouch.Session.
func (v *vouchedSession) Load(ctx context.Context) (kept string, access authserver.Secret, err error) {
	current, err := v.sessions.Reload(ctx, v.session)
	if err == nil && current == nil {
		err = errSessionGone
	}
	if err != nil {
		return "", authserver.Secret{}, err
	}
	v.session = current
	return current.Kept, current.AccessToken(), nil
}

// Renew implements vouch.Session.
func (v *vouchedSession) Renew(ctx context.Context) (authserver.Secret, error) {
	v.sessions.NoteRejected(v.session)
	fresh, err := v.sessions.WithUsableToken(ctx, v.session, v.now())
	switch {
	case err != nil:
		return authserver.Secret{}, err
	case fresh == nil:
		return authserver.Secret{}, errSessionGone
	case fresh.Bearer() == v.session.Bearer():
		return authserver.Secret{}, errTokenNotNew
	}
	v.session = fresh
	return fresh.AccessToken(), nil
}

// Keep implements vouch.Session.
func (v *vouchedSession) Keep(ctx context.Context, change func(kept string) (string, bool)) error {
	kept, err := v.sessions.Keep(ctx, v.session, change)
	if err == nil && kept == nil {
		err = errSessionGone
	}
	return err
}
