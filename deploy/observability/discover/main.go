// discover serves Prometheus' http_sd with the pods that the API server lists, labelled as kubernetes_sd labels them, for
// Debian's Prometheus, which is built without Kubernetes discovery. It provides only the labels that
// deploy/observability/prometheus.yml reads.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const account = "/var/run/secrets/kubernetes.io/serviceaccount/"

// podList is the part of a list of pods that labels are derived from.
type podList struct {
	Items []pod `json:"items"`
}

type pod struct {
	Metadata struct {
		Name      string            `json:"name"`
		Namespace string            `json:"namespace"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		Containers []struct {
			Ports []struct {
				Name          string `json:"name"`
				ContainerPort int    `json:"containerPort"`
			} `json:"ports"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		PodIP string `json:"podIP"`
		Phase string `json:"phase"`
	} `json:"status"`
}

// group is a target group of http_sd: https://prometheus.io/docs/prometheus/latest/http_sd/
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

var notInLabels = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// groups returns one target for each port of each pod that has an address.
func groups(pods podList) []group {
	found := []group{}
	for _, p := range pods.Items {
		if p.Status.PodIP == "" {
			continue
		}
		for _, container := range p.Spec.Containers {
			for _, port := range container.Ports {
				labels := map[string]string{
					"__meta_kubernetes_namespace":               p.Metadata.Namespace,
					"__meta_kubernetes_pod_name":                p.Metadata.Name,
					"__meta_kubernetes_pod_phase":               p.Status.Phase,
					"__meta_kubernetes_pod_container_port_name": port.Name,
				}
				for key, value := range p.Metadata.Labels {
					labels["__meta_kubernetes_pod_label_"+notInLabels.ReplaceAllString(key, "_")] = value
				}
				address := net.JoinHostPort(p.Status.PodIP, strconv.Itoa(port.ContainerPort))
				found = append(found, group{Targets: []string{address}, Labels: labels})
			}
		}
	}
	return found
}

type apiServer struct {
	client *http.Client
	url    string
}

func inCluster(selector string) (*apiServer, error) {
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return nil, fmt.Errorf("no service account token is mounted: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%sca.crt contains no certificate", account)
	}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return &apiServer{
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
		url:    "https://" + host + "/api/v1/pods?labelSelector=" + selector,
	}, nil
}

func (s *apiServer) pods(ctx context.Context) (podList, error) {
	var pods podList
	// The token is read for each request, because the kubelet renews it.
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return pods, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return pods, err
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	answer, err := s.client.Do(request)
	if err != nil {
		return pods, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 500))
		return pods, fmt.Errorf("the API server answered %s: %s", answer.Status, said)
	}
	return pods, json.NewDecoder(answer.Body).Decode(&pods)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9401", "address to listen on")
	selector := flag.String("selector", "app.kubernetes.io/name+in+(quorate,quorate-operator)", "label selector of the pods, URL-encoded")
	flag.Parse()
	server, err := inCluster(*selector)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		pods, err := server.pods(request.Context())
		if err != nil {
			// After an error Prometheus keeps its current targets.
			log.Print(err)
			http.Error(answer, err.Error(), http.StatusBadGateway)
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(answer).Encode(groups(pods)); err != nil {
			log.Print(err)
		}
	})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
