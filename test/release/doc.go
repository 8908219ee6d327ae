// Package release tests what builds, releases and looks after this project: the commands
// that the documents give for xcaddy, GoReleaser's configuration, and what GitHub reads.
package release
