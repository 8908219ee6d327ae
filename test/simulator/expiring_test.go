package simulator

import (
	"fmt"
	"testing"
	"time"
)

func TestExpiringForgets(t *testing.T) {
	now := time.Unix(0, 0)
	e := expiring[int]{max: 3}
	for i := range 5 {
		e.put(fmt.Sprint(i), i, now, now.Add(time.Minute))
	}
	if _, ok := e.get("1", now); ok || len(e.index) != 3 || e.order.Len() != 3 {
		t.Errorf("%d entries of at most 3", len(e.index))
	}
	if v, ok := e.get("4", now); !ok || v != 4 {
		t.Errorf("the latest is %d, %v", v, ok)
	}
	e.put("4", 40, now, now.Add(time.Hour))
	if v, _ := e.get("4", now); v != 40 || len(e.index) != 3 {
		t.Errorf("replaced: %d, %d entries", v, len(e.index))
	}
	later := now.Add(time.Minute)
	if _, ok := e.get("3", later); ok {
		t.Error("an expired entry is returned")
	}
	e.put("5", 5, later, later.Add(time.Minute))
	if len(e.index) != 2 {
		t.Errorf("%d entries after sweeping, want 2", len(e.index))
	}
}

func TestSecretsAreBounded(t *testing.T) {
	var r record
	for i := range maxSecrets + 10 {
		r.secret(fmt.Sprint(i))
		r.secret(fmt.Sprint(i))
	}
	if len(r.secrets) != maxSecrets || len(r.seen) != maxSecrets {
		t.Errorf("%d secrets, %d seen", len(r.secrets), len(r.seen))
	}
	if r.secrets[9] != fmt.Sprint(maxSecrets+9) {
		t.Errorf("the latest is not kept: %s", r.secrets[9])
	}
}
