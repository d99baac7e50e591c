# WooCommerce, GET /wp-json/wc/v3/orders/ID: a line has the sum of its pieces, before (subtotal) and after coupons.
def minor: tonumber * 100 | round;
.currency as $currency
| def money: { amount: minor, currency: $currency };
{ order_id: "woo-\(.id)", customer: "woo-\(.customer_id)", payment_method: $payment_method,
  ship_to: { country: (if .shipping.country == "" then .billing.country else .shipping.country end),
             postcode: .shipping.postcode },
  lines: [.line_items[] | { sku, quantity, unit_price: ((.subtotal | tonumber) / .quantity | money) }],
  charges: [{ kind: "shipping", amount: (.shipping_total | money) }, { kind: "tax", amount: (.total_tax | money) },
            { kind: "discount", amount: (.discount_total | money) }],
  total: (.total | money) }
