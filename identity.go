package micro

import (
	"crypto/rand"
	"os"
	"strings"
)

// newID makes an instance ID that people recognise in a log and that no
// restart repeats: a late stop of the old process must never meet the new one.
func newID() string {
	unique := strings.ToLower(rand.Text()[:10])
	host, err := os.Hostname()
	if err != nil || host == "" {
		return unique
	}
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, host[:min(len(host), 63)])
	return strings.TrimLeft(host+"-"+unique, ".-")
}
