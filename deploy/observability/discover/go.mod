module quorate.dev/discover

go 1.26
