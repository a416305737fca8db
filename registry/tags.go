package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/opencontainers/go-digest"
)

// Limits of a list of tags.
const (
	maxTagPage = 16 << 20 // bytes
	maxTags    = 100_000
	tagPage    = 1000 // tags that are asked for at once
)

// tagList is what a registry says about the tags of a repository.
type tagList struct {
	tags []string
	// uploaded is when manifests were pushed. Google's registries say so in their lists; of OCI's there is no such word.
	uploaded map[digest.Digest]time.Time
}

// tagsPage is one answer. The name of a tag is checked where it is used.
type tagsPage struct {
	Tags     []string `json:"tags"`
	Manifest map[digest.Digest]struct {
		Uploaded string `json:"timeUploadedMs"`
	} `json:"manifest"`
}

// listTags asks the registry itself for all tags of a repository.
func (c *Client) listTags(ctx context.Context, own target, p parsedRef) (*tagList, error) {
	var list *tagList
	err := c.believing(&own, func() (err error) {
		list, err = c.listPages(ctx, own)
		return err
	})
	if err == nil {
		return list, nil
	}
	err = classify(own.endpoint, p.name, err)
	var e *Error
	if status := statusOf(err, &e); e != nil {
		switch {
		case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented || errors.Is(e, ErrBadAnswer):
			e.Hint = own.host + " does not list tags: remove those of environments (ibuild-env-…) with the registry's own rules"
		case errors.Is(e, ErrDenied):
			e.Msg = "the tags may not be listed: " + e.Msg
		}
	}
	return nil, err
}

// statusOf returns the *Error in err's chain and the HTTP status in its text, 0 for none.
func statusOf(err error, e **Error) int {
	if !errors.As(err, e) {
		return 0
	}
	_, text, _ := strings.Cut((*e).Msg, " answered ")
	number, _, _ := strings.Cut(text, " ")
	n, _ := strconv.Atoi(number)
	return n
}

func (c *Client) listPages(ctx context.Context, own target) (*tagList, error) {
	client, err := c.authorized(ctx, own, own.repo.Scope(transport.PullScope))
	if err != nil {
		return nil, err
	}
	list := &tagList{uploaded: map[digest.Digest]time.Time{}}
	next := &url.URL{Scheme: own.repo.Scheme(), Host: own.repo.RegistryStr(), Path: "/v2/" + own.repo.RepositoryStr() + "/tags/list", RawQuery: "n=" + strconv.Itoa(tagPage)}
	for seen := map[string]bool{}; next != nil; {
		if seen[next.String()] {
			return nil, badAnswer("the list of tags begins again and again")
		}
		seen[next.String()] = true
		if next, err = list.page(ctx, client, next); err != nil {
			return nil, err
		}
		if len(list.tags) > maxTags {
			return nil, badAnswer("more than %d tags", maxTags)
		}
	}
	return list, nil
}

// page reads one answer and returns where the next one is, nil for nowhere.
func (l *tagList) page(ctx context.Context, client *http.Client, at *url.URL) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxTagPage+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxTagPage {
		return nil, badAnswer("a list of tags of more than %d bytes", maxTagPage)
	}
	if err := l.add(data); err != nil {
		return nil, err
	}
	return nextPage(at, resp.Header.Get("Link"))
}

func (l *tagList) add(data []byte) error {
	var page tagsPage
	if err := json.Unmarshal(data, &page); err != nil {
		return badAnswer("the list of tags is not valid JSON: %s", printable(err.Error()))
	}
	for _, tag := range page.Tags {
		if !isTag(tag) {
			return badAnswer("the list of tags has %q, which is none", printable(tag))
		}
	}
	l.tags = append(l.tags, page.Tags...)
	for d, m := range page.Manifest {
		if ms, err := strconv.ParseInt(m.Uploaded, 10, 64); err == nil {
			l.uploaded[d] = time.UnixMilli(ms)
		}
	}
	return nil
}

// isTag says whether a tag has the form that OCI's distribution specification gives it.
func isTag(tag string) bool {
	const most = 128
	if tag == "" || len(tag) > most || tag[0] == '.' || tag[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(tag, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
}

// nextPage reads a Link header (RFC 8288). Only the same host is asked for the next page.
func nextPage(at *url.URL, link string) (*url.URL, error) {
	if link == "" {
		return nil, nil
	}
	target, params, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.HasPrefix(link, "<") || !strings.Contains(params, "next") {
		return nil, badAnswer("a link to the next page of tags that makes no sense")
	}
	to, err := url.Parse(target)
	if err != nil {
		return nil, badAnswer("a link to the next page of tags that makes no sense")
	}
	to = at.ResolveReference(to)
	if to.Host != at.Host || to.Scheme != at.Scheme {
		return nil, badAnswer("a link to the next page of tags at another host")
	}
	return to, nil
}

// DeleteEnvironment removes the tag of an environment that [Client.Environments] has listed. Where the registry
// removes only whole images, that one goes if no other tag of the list others stands for it. A tag that stands for
// something else by now stays. Errors: *Error, with ErrNotFound for a tag that is gone, or the context's.
func (c *Client) DeleteEnvironment(ctx context.Context, repo string, e Environment, others []Environment) error {
	p, own, err := c.destination(repo)
	if err != nil {
		return err
	}
	p.tag, p.text = e.Tag, p.name+":"+e.Tag
	at, err := c.head(ctx, own, p)
	if err != nil {
		return err
	}
	if at.Digest != e.Digest {
		return &Error{Kind: ErrBadAnswer, Host: own.host, Ref: p.text, Msg: "it was pushed again meanwhile, so it stays", Hint: "run the command again to have another look"}
	}
	err = classify(own.endpoint, p.text, own.pusher.Delete(ctx, p.in(own.repo)))
	var refused *Error
	status := statusOf(err, &refused)
	if err == nil || !tagsStay(status) {
		return deleteError(own, err)
	}
	for _, o := range others {
		if o.Tag != e.Tag && o.Digest == e.Digest {
			refused.Msg = "it stands for the same image as the tag " + o.Tag + ", and the registry removes only whole images"
			refused.Hint = "remove both, or neither"
			return refused
		}
	}
	p = p.pinned(e.Digest)
	return deleteError(own, classify(own.endpoint, p.text, own.pusher.Delete(ctx, p.in(own.repo))))
}

// tagsStay says whether an answer may mean that a registry removes manifests by digest only.
func tagsStay(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented || status == http.StatusNotFound
}

// deleteError says what to do when a registry does not remove something.
func deleteError(own target, err error) error {
	var e *Error
	status := statusOf(err, &e)
	switch {
	case e == nil:
	case strings.Contains(strings.ToLower(e.Msg), "immutable") || status == http.StatusConflict || status == http.StatusPreconditionFailed || status == http.StatusLocked:
		e.Kind, e.Hint = ErrDenied, "the tags of this repository may not be changed: leave ibuild-env-* out of that rule, or let the registry's own rules remove them"
	case status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented || strings.Contains(e.Msg, "UNSUPPORTED"):
		e.Kind = ErrDenied
		e.Msg = own.host + " lets no client delete: " + e.Msg
		e.Hint = "turn that on at the registry, or let its own rules remove tags that begin with ibuild-env-"
	case errors.Is(e, ErrDenied):
		e.Msg = "it may not be deleted: " + e.Msg
	}
	return err
}
