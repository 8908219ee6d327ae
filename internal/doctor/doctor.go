// Package doctor checks the set-up of a block: its configuration, TrueLayer's auth
// server, and the way that a login takes. It finds out what is wrong before a visitor
// does, and says what to do.
//
// It prints no secret, and only the TrueLayer that it is given can send one anywhere.
package doctor

import (
	"context"
	"sync"
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
	first := make(chan answer, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		first <- b.askAuthServer(ctx)
	}()
	store, redirect := b.start(ctx, b.store), b.start(ctx, b.redirectURI)
	asked := <-first
	reached := func(name string, check func(context.Context) Finding) <-chan Finding {
		if asked.skip != nil {
			return b.start(ctx, func(context.Context) Finding { return Finding{name, Skipped, asked.skip.Seen, asked.skip.Remedy} })
		}
		return b.start(ctx, check)
	}
	token, link := reached(checkToken, b.tokenEndpoint), reached(checkLink, b.authLink)
	keySet := b.start(ctx, b.keySet)
	findings = append(findings, asked.findings...)
	for _, finding := range []<-chan Finding{token, link, keySet, store, redirect} {
		if f := <-finding; f.Check != "" {
			findings = append(findings, f)
		}
	}
	return findings
}

// start runs a check within its time.
func (b *Block) start(ctx context.Context, check func(context.Context) Finding) <-chan Finding {
	found := make(chan Finding, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		found <- check(ctx)
	}()
	return found
}

// maxBlocks is how many blocks are examined at the same time.
const maxBlocks = 8

// ExamineAll examines blocks, in their order.
func ExamineAll(ctx context.Context, blocks []Block) [][]Finding {
	findings := make([][]Finding, len(blocks))
	slots := make(chan struct{}, maxBlocks)
	var wg sync.WaitGroup
	for i, b := range blocks {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			findings[i] = Examine(ctx, b)
		})
	}
	wg.Wait()
	return findings
}
