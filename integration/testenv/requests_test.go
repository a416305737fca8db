package testenv

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRequestLog(t *testing.T) {
	var file bytes.Buffer
	log := &requestLog{file: &file}
	server := httptest.NewServer(log.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusCreated)
		}
		fmt.Fprintf(w, "got %d", len(body))
	})))
	defer server.Close()

	if _, err := http.Get(server.URL + "/before"); err != nil {
		t.Fatal(err)
	}
	mark := log.mark()
	req, _ := http.NewRequest(http.MethodPut, server.URL+"/v2/x/blobs/uploads/1?digest=d", strings.NewReader("12345"))
	req.Header.Set("User-Agent", "me")
	req.Header.Set("Authorization", "Bearer x")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if entry := log.since(mark)[0]; entry.Status != http.StatusCreated {
		t.Errorf("status is %d once the client has the answer", entry.Status)
	}
	_, _ = io.ReadAll(resp.Body)
	server.Close() // waits for the handlers, so that the file is complete

	got := log.since(mark)
	if len(got) != 1 {
		t.Fatalf("%d requests since the mark, want 1: %v", len(got), got)
	}
	got[0].Time = log.since(0)[0].Time
	want := Request{
		Time: got[0].Time, Method: "PUT", Path: "/v2/x/blobs/uploads/1", Query: "digest=d", Status: 201,
		Sent: 5, Received: 5, UserAgent: "me", Credentials: true,
	}
	if got[0] != want {
		t.Errorf("request = %+v, want %+v", got[0], want)
	}
	if first := log.since(0)[0]; first.Status != http.StatusOK {
		t.Errorf("status that the handler did not name is %d", first.Status)
	}
	if lines := strings.Count(file.String(), "\n"); lines != 2 {
		t.Errorf("access log has %d lines, want 2:\n%s", lines, file.String())
	}
}
