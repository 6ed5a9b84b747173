#!/bin/bash
# A live list on a terminal: the dearest orders of gold customers, printed anew whenever a commit changes it.
#
#   live.sh http://127.0.0.1:7437/api 2
#
# The server tells who leaves, and of whom comes or moves behind which one it stands (`after`); to do as it says is all that a
# client has to do. It is the same whether an order changes, or the customer that the filter reads.

list=()
declare -A shown

# The value of a member of the event, as a text; nothing where it has none.
member() {
  [[ $event =~ \"$1\":\"?([^\",}]*) ]] && echo "${BASH_REMATCH[1]}"
}

take_out() {
  local rest=()
  for other in "${list[@]}"; do [ "$other" = "$1" ] || rest+=("$other"); done
  list=("${rest[@]}")
}

put_behind() {
  local at=0
  while [ "$2" != null ] && [ "${list[at++]}" != "$2" ]; do :; done
  list=("${list[@]:0:at}" "$1" "${list[@]:at}")
}

while IFS= read -r event; do
  path=$(member path) id=${path##*/} after=$(member after)
  case $(member type) in
    left | removed) take_out "$id" ;;
    added | modified)
      shown[$id]="$id $(member amount) $(member customer_name)"
      [ -z "$after" ] || { take_out "$id"; put_behind "$id" "$after"; }
      ;;
    # What a commit does is whole when its revision is told.
    synced | bookmark)
      for id in "${list[@]}"; do echo "${shown[$id]}"; done
      echo --
      ;;
  esac
done < <(exec curl -sN -H 'accept: application/x-ndjson' -G "$1/orders" -d watch=true \
  --data-urlencode "filter=customer.standing = 'gold'" -d order=-amount -d "limit=$2" -d fields=amount,customer_name)
