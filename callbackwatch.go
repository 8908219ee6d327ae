package truelayer

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// maxReturns is how many visitors may come back from their bank before the lack of
	// callbacks is told of.
	maxReturns = 2
	// shortestStay is shorter than a login at a bank, and longer than a visitor takes to
	// press "Back" by mistake.
	shortestStay = 20 * time.Second
)

// callbackWatch notices that visitors go to their bank and come back without a callback,
// as if something else got the callbacks: a redirect or an answer before the directive
// that nobody can see when the configuration is loaded, or another redirect URI in
// TrueLayer's Console.
type callbackWatch struct {
	redirectURI string
	logger      *zap.Logger
	arrived     atomic.Bool // a callback has
	returns     atomic.Int32
}

// noteCallback notes that a callback has arrived.
func (c *callbackWatch) noteCallback() {
	if !c.arrived.Load() {
		c.arrived.Store(true)
	}
}

// noteReturn looks whether a visitor without a session has left for a bank a while ago.
func (c *callbackWatch) noteReturn(logins *loginCookies, q *request) {
	if c.arrived.Load() {
		return
	}
	for l := range logins.in(q.cookies) {
		if l.done || l.isOver(q.now) || q.now.Sub(l.started) < shortestStay {
			continue
		}
		if c.returns.Add(1) == maxReturns {
			c.logger.Warn("visitors go to their bank and come back, and no callback has arrived: "+
				"check that redirect_uri has the scheme, host and port that visitors use, that nothing before truelayer answers its path (redir, respond, basic_auth, another site, a proxy in front), and that TrueLayer's Console has this very redirect_uri",
				zap.String("redirect_uri", c.redirectURI), zap.Int32("visits", maxReturns))
		}
		return
	}
}
