package redisstore

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// List implements truelayer.Lister. It goes through the nodes one by one. The
// cursor consists of the node's number and the node's own cursor. Replicas in a
// cluster are nodes too, so an id may be returned several times.
func (s *Store) List(ctx context.Context, cursor string, limit int) (ids []string, next string, err error) {
	node, position, err := readCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	client, err := s.client(ctx)
	if err != nil {
		return nil, "", err
	}
	nodes := client.Nodes()
	names := slices.Sorted(maps.Keys(nodes))
	if node >= len(names) {
		return nil, "", nil
	}
	client = nodes[names[node]]
	answer, err := request(func(ctx context.Context, client rueidis.Client) rueidis.RedisResult {
		return client.Do(ctx, client.B().Scan().Cursor(position).Match(s.KeyPrefix+":{*}").Count(int64(max(1, limit))).Build().Pin())
	}).send(ctx, client)
	var page rueidis.ScanEntry
	if err == nil {
		page, err = answer.AsScanEntry()
	}
	if err := s.interpret(ctx, "listing sessions", err); err != nil {
		return nil, "", err
	}
	for _, key := range page.Elements {
		encoded, hasPrefix := strings.CutPrefix(key, s.KeyPrefix+":{")
		encoded, hasSuffix := strings.CutSuffix(encoded, "}")
		if !hasPrefix || !hasSuffix {
			continue // a broken server, since MATCH excludes such a key
		}
		id, err := base64.RawURLEncoding.DecodeString(encoded)
		if err == nil {
			ids = append(ids, string(id))
		}
	}
	switch {
	case page.Cursor != 0:
		return ids, fmt.Sprintf("%d:%d", node, page.Cursor), nil
	case node+1 < len(names):
		return ids, fmt.Sprintf("%d:0", node+1), nil
	}
	return ids, "", nil
}

func readCursor(cursor string) (node int, position uint64, err error) {
	if cursor == "" {
		return 0, 0, nil
	}
	first, second, _ := strings.Cut(cursor, ":")
	if node, err = strconv.Atoi(first); err == nil && node >= 0 {
		if position, err = strconv.ParseUint(second, 10, 64); err == nil {
			return node, position, nil
		}
	}
	return 0, 0, fmt.Errorf("listing sessions: %q is not a cursor of this store", cursor)
}
