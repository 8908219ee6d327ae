// Package doctor checks the set-up of a block: its configuration, TrueLayer's auth
// server, and the way that a login takes. It finds out what is wrong before a visitor
// does, and says what to do.
//
// It prints no secret, and only the TrueLayer that it is given can send one anywhere.
package doctor

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Examine runs all checks of a block. Those that need the network run at the same time,
// once the auth server has answered.
func Examine(ctx context.Context, b Block) []Finding {
	if b.HTTP == nil {
		transport := newTransport()
		defer transport.CloseIdleConnections()
		b.HTTP = transport
	}
	findings := b.configuration()
	keySet, store, redirect := start(ctx, b.keySet), start(ctx, b.store), start(ctx, b.redirectURI)
	asked := <-start(ctx, b.askAuthServer)
	token, link := asked.startReached(ctx, checkToken, b.tokenEndpoint), asked.startReached(ctx, checkLink, b.authLink)
	findings = append(findings, asked.findings...)
	for _, finding := range []<-chan Finding{token, link, keySet, store, redirect} {
		if f := <-finding; f.Check != "" {
			findings = append(findings, f)
		}
	}
	return findings
}

// start runs a check within its time.
func start[T any](ctx context.Context, check func(context.Context) T) <-chan T {
	found := make(chan T, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		found <- check(ctx)
	}()
	return found
}

// startReached is start for a check that needs the auth server.
func (a *answer) startReached(ctx context.Context, name string, check func(context.Context) Finding) <-chan Finding {
	if a.skip == "" {
		return start(ctx, check)
	}
	return start(ctx, func(context.Context) Finding { return Finding{name, Skipped, a.skip, ""} })
}

// maxBlocks is how many blocks are examined at the same time.
const maxBlocks = 8

// ExamineAll examines blocks, in their order.
func ExamineAll(ctx context.Context, blocks []Block) [][]Finding {
	findings := make([][]Finding, len(blocks))
	var group errgroup.Group
	group.SetLimit(maxBlocks)
	for i, b := range blocks {
		group.Go(func() error {
			findings[i] = Examine(ctx, b)
			return nil
		})
	}
	_ = group.Wait()
	return findings
}
