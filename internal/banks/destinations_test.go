package banks

import (
	"net/netip"
	"strings"
	"testing"
)

// TestDestinations: logos are fetched from TrueLayer's hosts and the auth server's own,
// and from nowhere else, whatever the list says.
func TestDestinations(t *testing.T) {
	const live, simulated, own = "https://auth.truelayer.com", "http://127.0.0.1:8090", "https://bank.example:8443/tl"
	for _, test := range []struct {
		base, address string
		want          bool
	}{
		{live, "https://truelayer-provider-assets.s3.amazonaws.com/global/logos/mock.svg", true},
		{live, "https://TrueLayer-Provider-Assets.S3.amazonaws.com:443/mock.svg", true},
		{live, "https://assets.truelayer.com/mock.svg?v=1", true},
		{live, "https://a.b.truelayer-sandbox.com/", true},
		{live, "https://auth.truelayer.com/logo.svg", true},
		{live, "", false},
		{live, "https://truelayer.com/mock.svg", false},
		{live, "https://truelayer.com.evil.example/mock.svg", false},
		{live, "https://eviltruelayer.com/mock.svg", false},
		{live, "https://evil.example/.truelayer.com", false},
		{live, "https://evil.example#.truelayer.com", false},
		{live, `https://evil.example\.truelayer.com/`, false},
		{live, "https://evil.example%2f.truelayer.com/", false},
		{live, "https://evil.example\u3002truelayer.com/", false},
		{live, "https://ассеts.truelayer.com/", false},
		{live, "https://assets.truelayer.com./", false},
		{live, "https://other.s3.amazonaws.com/mock.svg", false},
		{live, "https://x.truelayer-provider-assets.s3.amazonaws.com/", false},
		{live, "http://assets.truelayer.com/mock.svg", false},
		{live, "https://assets.truelayer.com:8443/mock.svg", false},
		{live, "https://assets.truelayer.com:0443/mock.svg", false},
		{live, "https://user@assets.truelayer.com/", false},
		{live, "https://assets.truelayer.com@evil.example/", false},
		{live, "https:assets.truelayer.com/", false},
		{live, "//assets.truelayer.com/", false},
		{live, "ftp://assets.truelayer.com/", false},
		{live, "file:///etc/passwd", false},
		{live, "data:image/png;base64,AAAA", false},
		{live, "https://127.0.0.1/", false},
		{live, "http://127.0.0.1:8090/logos/mock.svg", false},
		{live, "https://assets.truelayer.com/" + strings.Repeat("x", maxAddress), false},
		{simulated, "http://127.0.0.1:8090/logos/mock.svg", true},
		{simulated, "https://assets.truelayer.com/mock.svg", true},
		{simulated, "http://127.0.0.1:8091/logos/mock.svg", false},
		{simulated, "http://127.0.0.1/logos/mock.svg", false},
		{simulated, "https://127.0.0.1:8090/logos/mock.svg", false},
		{simulated, "http://localhost:8090/logos/mock.svg", false},
		{simulated, "http://a@127.0.0.1:8090/logos/mock.svg", false},
		{"http://[::1]:80", "http://[::1]/mock.svg", true},
		{"http://localhost", "http://LOCALHOST:80/mock.svg", true},
		{own, "https://bank.example:8443/logo", true},
		{own, "https://bank.example/logo", false},
		{own, "http://bank.example:8443/logo", false},
		{"http://bank.example", "http://bank.example/logo", false},
		{"", "https:///logo", false},
		{"", "https://assets.truelayer.com/logo", true},
		{"://", "https://assets.truelayer.com/logo", true},
	} {
		if got := newDestinations(test.base).permits(test.address); got != test.want {
			t.Errorf("%q of %q: %v", test.address, test.base, got)
		}
	}
}

// TestPublicAddresses: no address of this machine, its networks or its neighbours is a
// public one, in any notation of IPv6.
func TestPublicAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8": true, "52.218.0.1": true, "2606:4700::1": true, "2a05:d018::1": true, "::ffff:8.8.8.8": true, "64:ff9b::808:808": true,
		"127.0.0.1": false, "127.8.8.8": false, "::1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "::7f00:1": false,
		"10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "fd00::1": false, "fc00::1": false, "64:ff9b::a00:1": false, "64:ff9b:1::a00:1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "::ffff:169.254.169.254": false,
		"224.0.0.1": false, "239.1.1.1": false, "ff02::1": false, "255.255.255.255": false, "240.0.0.1": false,
		"0.0.0.0": false, "0.1.2.3": false, "::": false, "100.64.0.1": false, "198.18.0.1": false, "192.0.2.1": false,
		"2002:7f00:1::": false, "2001:0:1::1": false, "2001:db8::1": false, "100::1": false, "2606:4700::1%eth0": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
