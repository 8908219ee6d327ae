package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// A store is measured alone by one reader or writer: how fast many are
// together, the duels show.

// measureGets is what a Get costs, of each store: from its own memory, and
// from where it keeps the records.
func measureGets(ctx context.Context, o *options, t *table) error {
	for _, store := range []string{storeMemory, storeStorage, storeRedis} {
		if err := measureGet(ctx, o, t, store); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

func measureGet(ctx context.Context, o *options, t *table, store string) error {
	records := o.sessions
	if store == storeStorage { // each is a file
		records = min(records, 100_000)
	}
	b, err := openBacking(ctx, o, store, records)
	if err != nil {
		return err
	}
	defer b.stop()
	role := storeRole{Store: b.store, Seed: rand.Text(), Records: records, Time: o.roundTime}
	p, err := startStore(ctx, o, role)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.ask(ctx, "/fill", nil, new(int)); err != nil {
		return err
	}
	again := fmt.Sprintf("a Get of store %s: one of %d records read over and over, median", store, min(readAgain, records))
	if err := t.addGets(ctx, again, p, b, "/again"); err != nil || store == storeMemory {
		return err
	}
	once := fmt.Sprintf("a Get of store %s: one of %d read for the first time, median", store, records)
	if store == storeStorage {
		once += "; its file was just written and is in the kernel's memory"
		role.Store = storageStore(b.process.Address, "0s")
	}
	// another process has read nothing yet
	other, err := startStore(ctx, o, role)
	if err != nil {
		return err
	}
	defer other.stop()
	return t.addGets(ctx, once, other, b, "/once")
}

func startStore(ctx context.Context, o *options, role storeRole) (*process, error) {
	return start(ctx, roleStore, o.procs, role)
}

// addGets lets a store read and adds a row with what that took.
func (t *table) addGets(ctx context.Context, what string, p *process, b *backing, path string) error {
	c := contender{process: p, redis: b.redis}
	before, err := c.usage()
	if err != nil {
		return err
	}
	var answer gets
	if err := p.ask(ctx, path, nil, &answer); err != nil {
		return err
	}
	after, err := c.usage()
	if err != nil {
		return err
	}
	used := after.minus(before)
	each := func(spent time.Duration) string { return brief(spent / time.Duration(answer.Gets)) }
	result := fmt.Sprintf("%s, CPU %s", brief(answer.Median), each(used.cpu))
	if b.redis != nil {
		result += " and of Redis " + each(used.redis)
	}
	t.note(what, result)
	return nil
}

// measureWrites is what writing costs in the stores that several processes
// share.
func measureWrites(ctx context.Context, o *options, t *table) error {
	for _, store := range []string{storeStorage, storeRedis} {
		if err := measureWrite(ctx, o, t, store); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

func measureWrite(ctx context.Context, o *options, t *table, store string) error {
	b, err := openBacking(ctx, o, store, 0)
	if err != nil {
		return err
	}
	defer b.stop()
	p, err := startStore(ctx, o, storeRole{Store: b.store, Seed: rand.Text(), Time: o.roundTime})
	if err != nil {
		return err
	}
	defer p.stop()
	var answer writes
	if err := p.ask(ctx, "/write", nil, &answer); err != nil {
		return err
	}
	t.note(fmt.Sprintf("Create, Replace, Delete of store %s, medians", store),
		fmt.Sprintf("%s, %s, %s", brief(answer.Create), brief(answer.Replace), brief(answer.Delete)))
	return nil
}
