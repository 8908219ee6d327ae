package truelayer

import (
	"slices"
	"strings"

	"github.com/caddy-truelayer/caddy-truelayer/internal/doctor"
)

// accessLogsOf reads from a configuration whether accesses to a server are logged, and
// whether each log that gets them has the filter.
func accessLogsOf(root map[string]any, server any) doctor.AccessLogs {
	settings, _ := server.(map[string]any)
	if _, on := settings["logs"]; !on || settings["logs"] == nil {
		return doctor.AccessLogs{Certain: true}
	}
	logs := doctor.AccessLogs{On: true, Filtered: true, Certain: true}
	configured := member(root, "logging", "logs")
	if _, has := configured["default"]; !has {
		// Caddy adds one, which gets everything
		logs.Filtered = false
	}
	for name := range configured {
		log := member(configured, name)
		if getsAccesses(log) && !isFiltered(log) {
			logs.Filtered = false
		}
	}
	return logs
}

// getsAccesses reports whether a log accepts entries of access logs.
func getsAccesses(log map[string]any) bool {
	const accesses = "http.log.access"
	include, exclude := words(log["include"]), words(log["exclude"])
	if len(include) > 0 && !slices.ContainsFunc(include, func(name string) bool {
		return name == "" || strings.HasPrefix(name, accesses) || strings.HasPrefix(accesses+".", strings.TrimSuffix(name, ".")+".")
	}) {
		return false
	}
	// a log that leaves out the accesses of one server may get those of another; the
	// Caddyfile's own logs are left out by name, each of which another log gets
	return !slices.ContainsFunc(exclude, func(name string) bool {
		return strings.HasPrefix(name, accesses) || name == "http" || name == "http.log"
	})
}

// member returns the object at a path, nil if there is none.
func member(in any, path ...string) map[string]any {
	object, _ := in.(map[string]any)
	for _, name := range path {
		object, _ = object[name].(map[string]any)
	}
	return object
}

func words(list any) (words []string) {
	elements, _ := list.([]any)
	for _, element := range elements {
		if word, ok := element.(string); ok {
			words = append(words, word)
		}
	}
	return words
}

// isFiltered reports whether a log's encoder takes the secrets out of addresses: with
// this module's filter, or by leaving the fields out.
func isFiltered(log map[string]any) bool {
	fields := member(log, "encoder", "fields")
	for _, field := range []string{"request>uri", "resp_headers>Location"} {
		covered := false
		for at := field; at != "" && !covered; {
			filter := member(fields, at)["filter"]
			covered = filter == "delete" || at == field && filter == "truelayer"
			cut := strings.LastIndex(at, ">")
			at = at[:max(cut, 0)]
		}
		if !covered {
			return false
		}
	}
	return true
}
