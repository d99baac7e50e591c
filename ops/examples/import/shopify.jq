# Shopify, GET /admin/api/orders/ID.json: prices are texts in the currency's own units, two decimals here.
def minor: tonumber * 100 | round;
.order | .currency as $currency
| def money: { amount: minor, currency: $currency };
{ order_id: "shopify-\(.id)", customer: "shopify-\(.customer.id)", payment_method: $payment_method,
  ship_to: { country: .shipping_address.country_code, postcode: .shipping_address.zip },
  lines: [.line_items[] | { sku, quantity, unit_price: (.price | money) }],
  charges: ([.shipping_lines[] | { kind: "shipping", amount: (.price | money) }]
    + [{ kind: "tax", amount: (if .taxes_included then "0" else .total_tax end | money) },
       { kind: "discount", amount: (.total_discounts | money) }]),
  total: (.total_price | money) }
