module github.com/caddy-truelayer/caddy-truelayer/test/cluster

go 1.26.0

require github.com/caddy-truelayer/caddy-truelayer v0.0.0

replace github.com/caddy-truelayer/caddy-truelayer => ../..
