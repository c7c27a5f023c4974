package blob

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

// Location is a bucket's URL, taken apart:
//
//	file:///DIR
//	s3://BUCKET/PREFIX?region=REGION&endpoint=URL&pathStyle=true
//
// The prefix and the query may be absent; without a region the AWS environment
// says it.
type Location struct {
	// Dir is set for a directory, and nothing else then is.
	Dir string

	Bucket, Prefix, Region string
	// Endpoint is the base URL of a service that speaks S3; empty is AWS's.
	Endpoint string
	// PathStyle puts the bucket's name into the path of requests.
	PathStyle bool
}

// ParseURL takes a bucket's URL apart.
func ParseURL(text string) (Location, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Location{}, fmt.Errorf("%q is no URL: file:///DIR or s3://BUCKET/PREFIX?region=REGION expected", text)
	}
	switch {
	case u.User != nil || u.Fragment != "" || u.Opaque != "":
	case u.Scheme == "file" && u.Host == "" && u.RawQuery == "" && filepath.IsAbs(u.Path):
		return Location{Dir: filepath.Clean(u.Path)}, nil
	case u.Scheme == "s3" && u.Host != "":
		return parseS3(u)
	}
	return Location{}, fmt.Errorf("%q is no bucket: file:///DIR or s3://BUCKET/PREFIX?region=REGION expected", text)
}

func parseS3(u *url.URL) (Location, error) {
	l := Location{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if l.Prefix != "" {
		if err := checkKey(l.Prefix); err != nil {
			return Location{}, err
		}
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, fmt.Errorf("the query of %q can't be read", u)
	}
	for name, values := range query {
		value := values[len(values)-1]
		switch {
		case name == "region":
			l.Region = value
		case name == "endpoint":
			l.Endpoint = value
		case name == "pathStyle" && (value == "true" || value == "false"):
			l.PathStyle = value == "true"
		default:
			return Location{}, fmt.Errorf("%s=%s of %q is not known; region, endpoint and pathStyle=true are", name, value, u)
		}
	}
	return l, nil
}

// String is the URL again.
func (l Location) String() string {
	if l.Dir != "" {
		return (&url.URL{Scheme: "file", Path: l.Dir}).String()
	}
	query := url.Values{}
	for name, value := range map[string]string{"region": l.Region, "endpoint": l.Endpoint} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if l.PathStyle {
		query.Set("pathStyle", "true")
	}
	u := url.URL{Scheme: "s3", Host: l.Bucket, RawQuery: query.Encode()}
	if l.Prefix != "" {
		u.Path = "/" + l.Prefix
	}
	return u.String()
}

// Open opens the bucket at a URL. Nothing is asked of S3 yet: see
// [Bucket.Check]. Credentials come from the AWS environment.
func Open(ctx context.Context, text string) (*Bucket, error) {
	l, err := ParseURL(text)
	if err != nil {
		return nil, err
	}
	if l.Dir != "" {
		return OpenDir(l.Dir)
	}
	return openS3(ctx, l)
}

func openS3(ctx context.Context, l Location) (*Bucket, error) {
	var options []func(*config.LoadOptions) error
	if l.Region != "" {
		options = append(options, config.WithRegion(l.Region))
	}
	conf, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration for %s: %w", l, err)
	}
	if conf.Region == "" {
		return nil, fmt.Errorf("%s names no AWS Region, nor does the environment: add ?region=REGION", l)
	}
	client := s3.NewFromConfig(conf, func(o *s3.Options) {
		o.UsePathStyle = l.PathStyle
		// Part of an object has no checksum in S3, and that is no news.
		o.DisableLogOutputChecksumValidationSkipped = true
		if l.Endpoint != "" {
			o.BaseEndpoint = &l.Endpoint
		}
	})
	bucket, err := s3blob.OpenBucket(ctx, client, l.Bucket, &s3blob.Options{
		// Parts do not take it from the client.
		RequestChecksumCalculation: conf.RequestChecksumCalculation,
	})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", l, err)
	}
	if l.Prefix != "" {
		bucket = blob.PrefixedBucket(bucket, l.Prefix+"/")
	}
	return &Bucket{bucket: bucket, name: l.String()}, nil
}
