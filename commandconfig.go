package truelayer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-truelayer/caddy-truelayer/internal/doctor"
)

// configuredBlock is a block of a configuration file that is not loaded.
type configuredBlock struct {
	handler    *Handler
	err        error // why the options cannot be used
	accessLogs doctor.AccessLogs
}

// configuredBlocks returns the blocks of a site in the configuration file, or all of
// them if site is "". It adapts the file, and provisions nothing.
func (f *caddyFlags) configuredBlocks(site string) ([]*configuredBlock, error) {
	config, _, _, err := caddycmd.LoadConfig(f.config, f.adapter)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	blocks, err := findBlocks(config)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(blocks) == 0 {
		return nil, errors.New("the configuration has no truelayer block")
	}
	if site == "" {
		return blocks, nil
	}
	blocks = slices.DeleteFunc(blocks, func(b *configuredBlock) bool { return b.site() != site })
	if len(blocks) == 0 {
		return nil, fmt.Errorf("the configuration has no truelayer block for the site %q: a site is the host and the path of its redirect_uri", site)
	}
	return blocks, nil
}

// findBlocks returns the blocks anywhere in a configuration in JSON.
func findBlocks(config []byte) ([]*configuredBlock, error) {
	var root map[string]any
	if err := json.Unmarshal(config, &root); err != nil {
		return nil, err
	}
	var blocks []*configuredBlock
	seen := make(map[string]bool)
	add := func(handlers []map[string]any, logs doctor.AccessLogs) error {
		for _, raw := range handlers {
			text, err := json.Marshal(raw)
			if err != nil {
				return err
			}
			if !seen[string(text)] {
				seen[string(text)] = true
				blocks = append(blocks, readBlock(text, logs))
			}
		}
		return nil
	}
	servers := member(root, "apps", "http", "servers")
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		if err := add(handlersIn(servers[name]), accessLogsOf(root, servers[name])); err != nil {
			return nil, err
		}
	}
	// elsewhere, such as in named routes: their server is not known
	delete(member(root, "apps", "http"), "servers")
	unknown := doctor.AccessLogs{Unknown: "the block stands outside of the servers, so its access logs are not known"}
	return blocks, add(handlersIn(root), unknown)
}

// handlersIn returns the truelayer handlers at any depth, in the order of the text.
func handlersIn(value any) (handlers []map[string]any) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			handlers = append(handlers, handlersIn(element)...)
		}
	case map[string]any:
		if value["handler"] == "truelayer" {
			return []map[string]any{value}
		}
		for _, name := range slices.Sorted(maps.Keys(value)) {
			handlers = append(handlers, handlersIn(value[name])...)
		}
	}
	return handlers
}

// readBlock reads a handler as Caddy would, short of provisioning it.
func readBlock(text []byte, logs doctor.AccessLogs) *configuredBlock {
	b := &configuredBlock{handler: new(Handler), accessLogs: logs}
	var members map[string]json.RawMessage
	if b.err = json.Unmarshal(text, &members); b.err != nil {
		return b
	}
	delete(members, "handler") // which is not the handler's own
	rest, err := json.Marshal(members)
	if err != nil {
		b.err = err
		return b
	}
	decoder := json.NewDecoder(bytes.NewReader(rest))
	decoder.DisallowUnknownFields()
	if b.err = decoder.Decode(b.handler); b.err == nil {
		_, b.err = b.handler.prepareOptions()
	}
	return b
}

// site is the block's site, as far as it can be told.
func (b *configuredBlock) site() string {
	if u, err := url.Parse(b.handler.RedirectURI); err == nil && u.Host != "" {
		return u.Host + u.Path
	}
	return "a block without a redirect_uri"
}

// diagnosis returns what the doctor gets of the block. TrueLayer is nil if the block
// cannot be used as it is.
func (b *configuredBlock) diagnosis() doctor.Block {
	id, secret, err := b.handler.expandCredentials()
	d := b.handler.diagnosis(id, secret)
	d.Credentials, d.AccessLogs = b.handler.credentialsOf(err), b.accessLogs
	d.NoStore = "not checked, since only the running Caddy uses its store: run the command without --config"
	if b.err != nil {
		d.Options = []doctor.Note{{Level: doctor.Failure, Seen: b.err.Error(), Remedy: "correct the option: Caddy refuses to load the configuration"}}
	}
	if err != nil || b.err != nil {
		d.TrueLayer = nil
	}
	return d
}
