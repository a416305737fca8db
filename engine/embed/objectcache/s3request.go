package objectcache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/encoding/httpbinding"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// s3 speaks as much of S3 as a cache needs
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html).
type s3 struct {
	bucket, region string
	endpoint       *url.URL
	pathStyle      bool
	attempts       int
	client         *http.Client
	credentials    aws.CredentialsProvider
	wait           func(context.Context, time.Duration) error // between attempts
}

// errNoObject says that there is no object under a key.
var errNoObject = errors.New("no such object")

func (s *s3) configure(attrs map[string]string) error {
	s.bucket, s.region, s.attempts, s.wait = attrs["bucket"], attrs["region"], 3, sleep
	if s.bucket == "" || s.region == "" {
		return errors.New("bucket and region are needed")
	}
	if err := positive(attrs, "retry_max_attempts", &s.attempts); err != nil {
		return err
	}
	if v := attrs["retry_mode"]; v != "" && v != "standard" {
		return fmt.Errorf("retry_mode: %q is not known here, only standard", v)
	}
	where := attrs["endpoint_url"]
	if where == "" {
		domain := "amazonaws.com"
		if strings.HasPrefix(s.region, "cn-") {
			domain = "amazonaws.com.cn"
		}
		where, s.pathStyle = "https://s3."+s.region+"."+domain, strings.Contains(s.bucket, ".")
	} else {
		s.pathStyle, _ = strconv.ParseBool(attrs["use_path_style"])
	}
	var err error
	if s.endpoint, err = url.Parse(where); err != nil || s.endpoint.Host == "" || s.endpoint.Scheme != "http" && s.endpoint.Scheme != "https" {
		return errors.New("endpoint_url is not an address such as https://storage.example.com")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // layers are compressed, and a proxy that adds a signed header breaks signatures
	transport.ResponseHeaderTimeout = 2 * time.Minute
	s.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	s.credentials = credentialsOf(attrs)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// request is one call. body is read from its beginning for each attempt; sum is its SHA-256, which the signature covers.
type request struct {
	method, key string
	query       url.Values
	header      http.Header
	body        io.ReaderAt
	size        int64
	sum         string // hexadecimal; "" for no body
}

// emptySum is the SHA-256 of nothing.
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// do sends a request until it is answered, as often as attempts says. The caller closes the answer's body; it is of a
// status below 300. Errors: errNoObject, or what S3 says, without the request's address.
func (s *s3) do(ctx context.Context, r request) (*http.Response, error) {
	pause := 200 * time.Millisecond
	for n := 1; ; n++ {
		resp, again, err := s.once(ctx, r)
		if err == nil || !again || n >= s.attempts || ctx.Err() != nil {
			return resp, err
		}
		if err := s.wait(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, 20*time.Second)
	}
}

// once sends a request. again says that another attempt may end better.
func (s *s3) once(ctx context.Context, r request) (resp *http.Response, again bool, err error) {
	req, err := s.signed(ctx, r)
	if err != nil {
		return nil, false, err
	}
	resp, err = s.client.Do(req)
	if err != nil {
		var at *url.Error
		if errors.As(err, &at) {
			err = at.Err
		}
		return nil, true, fmt.Errorf("s3: %s %s: %w", r.method, s.endpoint.Host, err)
	}
	if resp.StatusCode < 300 {
		return resp, false, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		if code, _ := said(resp); code == "NoSuchBucket" {
			return nil, false, fmt.Errorf("s3: there is no bucket %s at %s", s.bucket, s.endpoint.Host)
		}
		return nil, false, errNoObject
	}
	return nil, resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, s.refusal(r, resp)
}

// said reads S3's own error code and text.
func said(resp *http.Response) (code, text string) {
	var doc struct{ Code, Message string }
	const limit = 64 << 10
	if xml.NewDecoder(io.LimitReader(resp.Body, limit)).Decode(&doc) != nil {
		return "", ""
	}
	return doc.Code, doc.Message
}

func (s *s3) refusal(r request, resp *http.Response) error {
	code, text := said(resp)
	if region := resp.Header.Get("X-Amz-Bucket-Region"); region != "" && region != s.region {
		return fmt.Errorf("s3: the bucket %s is in the region %s, not in %s", s.bucket, region, s.region)
	}
	return fmt.Errorf("s3: %s of %s in the bucket %s: %s", r.method, cmp.Or(r.key, "the bucket"), s.bucket, strings.Join(strings.Fields(resp.Status+" "+code+" "+text), " "))
}

func (s *s3) signed(ctx context.Context, r request) (*http.Request, error) {
	u := s.address(r.key)
	u.RawQuery = r.query.Encode()
	var body io.Reader
	if r.body != nil {
		body = io.NewSectionReader(r.body, 0, r.size)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, errors.New("s3: the address cannot be used")
	}
	if r.body != nil {
		req.ContentLength = r.size
		if r.size == 0 {
			req.Body = http.NoBody
		}
	}
	for key, values := range r.header {
		req.Header[key] = values
	}
	sum := cmp.Or(r.sum, emptySum)
	req.Header.Set("X-Amz-Content-Sha256", sum)
	creds, err := s.credentials.Retrieve(ctx)
	if err != nil {
		return nil, fmt.Errorf("s3: no credentials (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, e.g. with: aws configure export-credentials --format env): %w", err)
	}
	err = v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(ctx, creds, req, sum, "s3", s.region, time.Now())
	return req, err
}

// escapePath escapes all but what S3 leaves as it is; Go leaves more.
func escapePath(path string) string { return httpbinding.EscapePath(path, false) }

// write writes an object with one request.
func (s *s3) write(ctx context.Context, key string, sum digest.Digest, from io.ReaderAt, size int64) error {
	resp, err := s.do(ctx, request{method: http.MethodPut, key: key, body: from, size: size, sum: sum.Encoded()})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Objects over largestPut bytes are sent in parts, so that a cut costs a part. S3 takes at most 10,000 of them.
const (
	largestPut = 64 << 20
	partSize   = 32 << 20
	mostParts  = 10_000
	partsAtOne = 4 // at a time
)

type part struct {
	Number int    `xml:"PartNumber"`
	ETag   string `xml:"ETag"`
}

// writeParts writes an object in parts. What is not completed is given up, as it would be paid for.
func (s *s3) writeParts(ctx context.Context, key string, from io.ReaderAt, size int64) error {
	resp, err := s.do(ctx, request{method: http.MethodPost, key: key, query: url.Values{"uploads": {""}}})
	if err != nil {
		return err
	}
	var started struct {
		UploadID string `xml:"UploadId"`
	}
	err = xml.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&started)
	resp.Body.Close()
	if err != nil || started.UploadID == "" {
		return errors.New("s3: the answer to the begin of an upload has no id")
	}
	parts, err := s.sendParts(ctx, key, started.UploadID, from, size)
	if err == nil {
		err = s.complete(ctx, key, started.UploadID, parts)
	}
	if err != nil {
		if resp, giveUp := s.do(context.WithoutCancel(ctx), request{method: http.MethodDelete, key: key, query: url.Values{"uploadId": {started.UploadID}}}); giveUp == nil {
			resp.Body.Close()
		}
	}
	return err
}

func (s *s3) sendParts(ctx context.Context, key, upload string, from io.ReaderAt, size int64) ([]part, error) {
	step := max(int64(partSize), (size+mostParts-1)/mostParts)
	parts := make([]part, (size+step-1)/step)
	var mu sync.Mutex
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(partsAtOne)
	for i := range parts {
		eg.Go(func() error {
			off := int64(i) * step
			body := io.NewSectionReader(from, off, min(step, size-off))
			sum := sha256.New()
			if _, err := io.Copy(sum, body); err != nil {
				return err
			}
			resp, err := s.do(ctx, request{method: http.MethodPut, key: key, body: body, size: body.Size(), sum: hex.EncodeToString(sum.Sum(nil)),
				query: url.Values{"partNumber": {strconv.Itoa(i + 1)}, "uploadId": {upload}}})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			parts[i] = part{Number: i + 1, ETag: resp.Header.Get("ETag")}
			return resp.Body.Close()
		})
	}
	return parts, eg.Wait()
}

func (s *s3) complete(ctx context.Context, key, upload string, parts []part) error {
	data, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Parts   []part   `xml:"Part"`
	}{Parts: parts})
	if err != nil {
		return err
	}
	resp, err := s.do(ctx, request{method: http.MethodPost, key: key, query: url.Values{"uploadId": {upload}}, body: strings.NewReader(string(data)),
		size: int64(len(data)), sum: digest.FromBytes(data).Encoded()})
	if err != nil {
		return err
	}
	return copied(resp.Body)
}

// copied reads the answer to a copy, or to the end of an upload: S3 says in the body, after a good status, whether it
// worked.
func copied(body io.ReadCloser) error {
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, 64<<10))
	if err != nil {
		return err
	}
	var doc struct {
		XMLName       xml.Name
		Code, Message string
	}
	if xml.Unmarshal(data, &doc) == nil && doc.XMLName.Local == "Error" {
		return fmt.Errorf("s3: %s %s", doc.Code, doc.Message)
	}
	return nil
}
