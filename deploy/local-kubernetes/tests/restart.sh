down_and_up() { lk $A down --keep-data && lk $A up; }

holds "a cluster can be stopped and started with its data" down_and_up
holds "its pods come back with their volumes" within 60 word_is_kept db-0
