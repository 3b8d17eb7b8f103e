// Command local-netpol enforces networking.k8s.io/v1 NetworkPolicy on one node with
// nftables (IPv4): it recomputes the whole rule set on every change and
// loads it in one transaction.  Traffic between a node and its own pods (probes)
// does not pass the forward hook and so is always allowed, as the API demands.
//
//	local-netpol --kubeconfig FILE --name NODE
package main

import (
	"bytes"
	"context"
	"flag"
	"log"
	"os/exec"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	net "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "")
	node := flag.String("name", "", "")
	flag.Parse()
	cfg, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	f := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(cfg), 0)
	kick := make(chan struct{}, 1)
	poke := func(any) {
		select {
		case kick <- struct{}{}:
		default:
		}
	}
	h := cache.ResourceEventHandlerFuncs{AddFunc: poke, UpdateFunc: func(_, o any) { poke(o) }, DeleteFunc: poke}
	pods, nss, nps := f.Core().V1().Pods(), f.Core().V1().Namespaces(), f.Networking().V1().NetworkPolicies()
	for _, i := range []cache.SharedIndexInformer{pods.Informer(), nss.Informer(), nps.Informer()} {
		i.AddEventHandler(h)
	}
	f.Start(context.Background().Done())
	f.WaitForCacheSync(context.Background().Done())
	var last string
	for range kick {
		s := &state{namespaces: map[string]labels.Set{}}
		all, _ := pods.Lister().List(labels.Everything())
		for _, p := range all {
			if running(p) {
				s.pods = append(s.pods, p)
			}
		}
		slices.SortFunc(s.pods, func(a, b *core.Pod) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
		list, _ := nss.Lister().List(labels.Everything())
		for _, n := range list {
			s.namespaces[n.Name] = n.Labels
		}
		s.policies, _ = nps.Lister().List(labels.Everything())
		slices.SortFunc(s.policies, func(a, b *net.NetworkPolicy) int {
			return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
		})
		rules := s.rules(*node)
		if rules == last {
			continue
		}
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(rules)
		var out bytes.Buffer
		cmd.Stderr = &out
		if err := cmd.Run(); err != nil {
			log.Printf("nft: %v: %s\n%s", err, out.String(), rules)
			time.Sleep(time.Second)
			poke(nil)
			continue
		}
		last = rules
		log.Printf("loaded %d policies", len(s.policies))
		time.Sleep(100 * time.Millisecond)
	}
}
