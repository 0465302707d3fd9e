package dsn_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/internal/dsn"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	d := dsn.NewDrivers("pkg", "thing", "example.com/other", "memory", func(u *url.URL) (string, error) {
		if u.Host == "" {
			return "", errors.New("no name")
		}
		return u.Host, nil
	})
	d.Register("other", func(*url.URL) (string, error) { return "", nil })
	if got, err := d.Open("memory://x"); got != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for rawURL, want := range map[string]string{
		"memory://":                     "pkg: open thing memory:: no name",
		"none://user:secret@h":          `unknown scheme "none": known are memory, other; a driver is known once it is imported: import _ "example.com/other"`,
		"memory://user:secret@h:port":   "the URL is malformed",
		"://":                           "missing protocol scheme",
		"memory://user:sec\x7fret@host": "the URL is malformed",
	} {
		_, err := d.Open(rawURL)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", rawURL, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "ret@") {
			t.Errorf("%s: the error tells the password: %v", rawURL, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a scheme can be registered twice")
		}
	}()
	d.Register("other", nil)
}

func TestParams(t *testing.T) {
	t.Parallel()
	for query, want := range map[string][]string{ // what End says; nothing: all is well
		"":                           nil,
		"n=3&d=2s&t=x&f=dsn_test.go": nil,
		"n=three":                    {"pkg: n=three: give a number"},
		"d=2":                        {"d=2: give a duration"},
		"d=long":                     {"d=long: give a duration"},
		"f=nothing.txt":              {"f: stat nothing.txt"},
		"other=1":                    {`unknown parameter "other": known are d, f, n, t`},
		"t=1&t=2":                    {`"t" is given 2 times`},
		"n=":                         {`parameter "n" is empty`},
		"needs=1":                    {"a user"},
		"n=x&other=1":                {"n=x", "other"},
		"t=%zz":                      {"parameters: invalid URL escape"},
		"tls=true":                   nil,
		"tls=1":                      {"tls=1: give true or false"},
		"ca=x":                       {"need tls=true"},
		"tls=true&ca=nothing.pem":    {"ca: open nothing.pem"},
		"tls=true&ca=dsn_test.go":    {"no PEM certificate"},
		"tls=true&cert=x":            {"cert and key go together"},
		"tls=true&cert=x&key=y":      {"cert=x, key=y"},
	} {
		p := dsn.NewParams("pkg", &url.URL{RawQuery: query})
		number, duration, file := 0, time.Duration(0), ""
		p.Number("n", func(n int) { number = n })
		p.Duration("d", func(d time.Duration) { duration = d })
		p.File("f", func(path string) { file = path })
		text := p.Text("t")
		if strings.Contains(query, "needs") {
			p.Needs("needs", "a user")
		}
		if strings.Contains(query, "tls") || strings.Contains(query, "ca=") {
			if c := p.TLS(); (c != nil) != strings.Contains(query, "tls=true") {
				t.Errorf("%s: TLS %v", query, c)
			}
		}
		err := p.End()
		if (err == nil) != (want == nil) || slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(err.Error(), w) }) {
			t.Errorf("%s: %v, want %q", query, err, want)
		}
		if query == "n=3&d=2s&t=x&f=dsn_test.go" && (number != 3 || duration != 2*time.Second || text != "x" || file != "dsn_test.go") {
			t.Errorf("%d, %v, %q, %q", number, duration, text, file)
		}
	}
}

func TestAddrs(t *testing.T) {
	t.Parallel()
	got, err := dsn.Addrs("pkg", "9092", []string{"h1", "h2:1", "[::1]:2", "10.0.0.1"})
	if want := []string{"h1:9092", "h2:1", "[::1]:2", "10.0.0.1:9092"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	for _, bad := range [][]string{nil, {""}, {":1"}, {"h:port-that-is-none"}, {"h:99999"}, {"user@h:1"}, {"h/path"}, {"a b:1"}} {
		if got, err := dsn.Addrs("pkg", "9092", bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}
