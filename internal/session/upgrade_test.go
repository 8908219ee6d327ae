package session

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"reflect"
	"testing"
)

// TestRecordsOfEarlierReleases: records that an earlier release has written are opened, with
// all that is in them. A release that cannot open them has another recordVersion, and says so
// in the changelog; its file joins the others here.
func TestRecordsOfEarlierReleases(t *testing.T) {
	text, err := os.ReadFile("testdata/record-v2.json")
	var written map[string][]byte
	if err == nil {
		err = json.Unmarshal(text, &written)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, want := NewLabel("https://auth.truelayer.com", "client", "verification offline_access", ""), testBody()
	want.consentOver, want.Told, want.randomConnection = false, false, false
	for name, kept := range map[string]string{"plain": "", "kept": "the bank's word"} {
		secret := Secret(written[name+"_secret"])
		got, err := open(written[name+"_record"], &l, &secret, l.SessionID(&secret))
		if want.Kept = kept; err != nil || !reflect.DeepEqual(&got, want) {
			t.Errorf("%s: %v %+v", name, err, base64.StdEncoding.EncodeToString(written[name+"_record"][:8]))
		}
	}
}
