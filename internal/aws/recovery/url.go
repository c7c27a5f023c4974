package recovery

import (
	"fmt"
	"net/url"
	"strings"
)

// scheme begins the URL of a project's tables.
const scheme = "dynamodb://"

// IsURL tells whether a text names tables, and no vault.
func IsURL(text string) bool { return strings.HasPrefix(text, scheme) }

// ParseURL reads dynamodb://PROJECT?region=REGION&endpoint=URL; the query may be
// absent.
func ParseURL(text string) (Options, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme+"://" != scheme || u.Host == "" || u.Path != "" || u.User != nil || u.Fragment != "" {
		return Options{}, fmt.Errorf("%q names no tables: dynamodb://PROJECT?region=REGION expected", text)
	}
	o := Options{Project: u.Host}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Options{}, fmt.Errorf("the query of %q can't be read", text)
	}
	for name, values := range query {
		switch value := values[len(values)-1]; name {
		case "region":
			o.Region = value
		case "endpoint":
			o.EndpointURL = value
		default:
			return Options{}, fmt.Errorf("%s of %q is not known; region and endpoint are", name, text)
		}
	}
	return o, nil
}
